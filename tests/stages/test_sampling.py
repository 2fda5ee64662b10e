import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from audiolm.errors import AudioLMError
from audiolm.stages.sampling import Sampling, draw, stage_generator


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def plain_probabilities(logits, sampling):
    """By the words: temperature, then the k likeliest (with ties), then the fewest that reach p."""
    wide = [x / sampling.temperature for x in logits.double().tolist()]
    if sampling.top_k is not None:
        last = sorted(wide, reverse=True)[: sampling.top_k][-1]
        wide = [x if x >= last else float("-inf") for x in wide]
    p = torch.tensor(wide, dtype=torch.float64).softmax(0).tolist()
    if sampling.top_p is not None:
        kept, total = set(), 0.0
        for i in sorted(range(len(p)), key=lambda i: -p[i]):
            kept.add(i)
            total += p[i]
            if total >= sampling.top_p:
                break
        p = [x if i in kept else 0.0 for i, x in enumerate(p)]
    return [x / sum(p) for x in p]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.6),
        Sampling(top_k=3),
        Sampling(top_p=0.7),
        Sampling(temperature=1.5, top_k=5, top_p=0.8),
        Sampling(top_k=100),
        Sampling(top_p=1e-9),
    ],
)
def test_draws_follow_the_plain_distribution(sampling):
    logits = torch.tensor([2.0, -1.0, 0.5, 1.9, -3.0, 1.0, 0.4, -0.2])
    expected = torch.tensor(plain_probabilities(logits, sampling))
    ids = draw(logits.expand(20_000, -1), sampling, [generator()], "test")
    measured = torch.bincount(ids, minlength=8) / 20_000
    assert (measured[expected == 0] == 0).all()
    assert (measured - expected).abs().max() < 0.015  # 4 standard deviations


def test_temperature_zero_takes_the_likeliest():
    logits = torch.randn(50, 7, generator=generator())
    for temperature in (0.0, 1e-30, 1e-5):
        ids = draw(logits, Sampling(temperature=temperature), [generator(1)], "test")
        assert torch.equal(ids, logits.argmax(-1))


adversarial = st.sampled_from([0.0, -1.0, 3e38, -3e38, 1e-40, 88.0, float("-inf")])


@settings(deadline=None)
@given(
    st.lists(adversarial, min_size=2, max_size=6),
    st.sampled_from([0.0, 1e-3, 1.0, 50.0]),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([None, 0.1, 1.0]),
    st.integers(0, 2**31),
)
def test_no_logits_make_it_draw_what_is_not_allowed(logits, temperature, top_k, top_p, seed):
    row = torch.tensor([logits])
    forbidden = torch.arange(len(logits))[None] == seed % len(logits)
    possible = {i for i, x in enumerate(logits) if x > float("-inf")} - {seed % len(logits)}
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    if not possible:
        with pytest.raises(AudioLMError, match=r"^name: "):
            draw(row, sampling, [generator(seed)], "name", forbidden)
    else:
        assert int(draw(row, sampling, [generator(seed)], "name", forbidden)) in possible


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_output_that_is_not_finite_is_an_error_unless_forbidden(bad):
    logits = torch.tensor([[0.0, bad, 1.0]])
    with pytest.raises(AudioLMError, match=r"^coarse stage: .*not finite"):
        draw(logits, Sampling(), [generator()], "coarse stage")
    forbidden = torch.tensor([[False, True, False]])
    assert int(draw(logits, Sampling(), [generator()], "coarse stage", forbidden)) != 1


def test_the_generator_alone_decides():
    logits = torch.randn(4, 30, generator=generator())
    before = torch.random.get_rng_state()
    ids = [draw(logits, Sampling(), [generator(seed)], "test").tolist() for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("bad", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 2}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        Sampling(**bad)


def test_each_stage_of_a_seed_has_a_generator_of_its_own():
    first = {
        name: torch.rand(4, generator=stage_generator(3, name)).tolist()
        for name in ("semantic", "coarse", "fine")
    }
    assert len({tuple(numbers) for numbers in first.values()}) == 3
    assert torch.rand(4, generator=stage_generator(3, "fine")).tolist() == first["fine"]
    assert torch.rand(4, generator=stage_generator(4, "fine")).tolist() != first["fine"]
    assert torch.rand(4, generator=stage_generator(2**63 - 1, "fine")).shape == (4,)


def test_rows_draw_from_their_own_generators():
    logits = torch.zeros(6, 50)
    together = draw(logits, Sampling(), [generator(1), generator(2), generator(3)], "test")
    apart = [draw(logits[:2], Sampling(), [generator(seed)], "test") for seed in (1, 2, 3)]
    assert torch.equal(together, torch.cat(apart))
