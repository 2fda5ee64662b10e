"""What w2v-BERT's losses count, and that they teach."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn import functional as F

from audiolm.errors import ConfigurationError
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.w2v_bert import (
    GumbelQuantizer,
    MaskingConfig,
    TargetQuantizerConfig,
    Targets,
    W2vBert,
    W2vBertConfig,
    contrastive_loss,
    diversity_loss,
    prediction_loss,
    sample_other_masked,
    span_mask,
    usage,
)

TINY = W2vBertConfig(
    conformer=ConformerConfig(layers=3, width=16, heads=2, feed_forward=32, kernel=5),
    contrastive_layers=2,
    quantizer=TargetQuantizerConfig(entries=12, width=8),
    masking=MaskingConfig(start_probability=0.1, span=3),
    distractors=10,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=generator(seed))


def network(config: W2vBertConfig = TINY, **changes) -> W2vBert:
    torch.manual_seed(0)
    return W2vBert(W2vBertConfig.model_validate(config.model_dump() | changes))


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    span=st.integers(1, 12),
    seed=st.integers(0, 999),
)
@settings(max_examples=50, deadline=None)
def test_masks_are_spans_of_real_steps(lengths: list[int], span: int, seed: int):
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    config = MaskingConfig(start_probability=0.05, span=span)
    masked = span_mask(real, config, generator(seed))
    assert not (masked & ~real).any()
    assert masked.any(dim=1).all()
    for row, length in enumerate(lengths):
        text = "".join("x" if hidden else "." for hidden in masked[row, :length].tolist())
        runs = text.split(".")
        # Every run is a whole span or more, but for one that the recording's end cuts short.
        assert all(len(run) >= span for run in runs[:-1] if run)


def test_share_of_masked_steps():
    real = torch.ones(200, 250, dtype=torch.bool)
    masked = span_mask(real, MaskingConfig(), generator())
    expected = 1 - (1 - 0.065) ** 10
    assert float(masked[:, 10:].float().mean()) == pytest.approx(expected, abs=0.01)


@given(seed=st.integers(0, 999), steps=st.integers(2, 20))
@settings(max_examples=40, deadline=None)
def test_distractors_are_other_masked_steps_of_the_row(seed: int, steps: int):
    masked = torch.rand(3, steps, generator=generator(seed)) < 0.5
    masked[:, 0] = True
    others = sample_other_masked(masked, 30, generator(seed))
    for row in range(3):
        hidden = set(masked[row].nonzero().flatten().tolist())
        for step in hidden:
            assert set(others[row, step].tolist()) <= (hidden - {step} or {step})


def test_all_distractors_are_equally_likely():
    masked = torch.zeros(1, 12, dtype=torch.bool)
    masked[0, [1, 4, 5, 9, 11]] = True
    counts = sample_other_masked(masked, 8000, generator())[0, 5].bincount(minlength=12)
    assert counts[5] == 0
    assert all(abs(int(counts[i]) - 2000) < 200 for i in (1, 4, 9, 11))


def test_contrastive_loss_by_hand():
    masked = torch.zeros(2, 7, dtype=torch.bool)
    masked[0, [0, 2, 3, 6]] = masked[1, [1, 4]] = True
    guess, truth = noise(2, 7, 4, seed=2), noise(2, 7, 4, seed=3)
    ids = torch.randint(0, 4, (2, 7, 1), generator=generator(4))
    quantized = Targets(truth, ids, torch.ones(2, 7, 1, 4) / 4)
    loss, accuracy = contrastive_loss(guess, quantized, masked, TINY, generator(5))
    others = sample_other_masked(masked, TINY.distractors, generator(5))
    nats, right = [], []
    for row, step in masked.nonzero().tolist():
        own = math.exp(F.cosine_similarity(guess[row, step], truth[row, step], dim=0) / 0.1)
        wrong = [
            math.exp(F.cosine_similarity(guess[row, step], truth[row, other], dim=0) / 0.1)
            for other in others[row, step].tolist()
        ]
        nats.append(-math.log(own / (own + sum(wrong))))
        right.append(own > max(wrong))
    assert float(loss) == pytest.approx(sum(nats) / len(nats), rel=1e-4)
    assert float(accuracy) == pytest.approx(sum(right) / len(right))


def test_one_target_for_all_is_no_way_out():
    """With a single codebook entry in use, nothing can be told apart: chance, not zero."""
    masked = torch.ones(1, 30, dtype=torch.bool)
    same = Targets(torch.ones(1, 30, 4), torch.zeros(1, 30, 1).long(), torch.ones(1, 30, 1, 1))
    loss, accuracy = contrastive_loss(torch.ones(1, 30, 4), same, masked, TINY, generator())
    assert float(loss) == pytest.approx(math.log(11), abs=1e-4)
    assert float(accuracy) == 0


def test_clusters_that_are_the_same_are_no_distractors():
    config = W2vBertConfig.model_validate(
        TINY.model_dump() | {"quantizer": {"kind": "clusters", "entries": 12, "width": 8}}
    )
    masked, vectors = torch.ones(1, 30, dtype=torch.bool), noise(1, 30, 4)
    ids = torch.zeros(1, 30, 1).long()
    for wrong, expected in ((ids, 0.0), (torch.arange(30).view(1, 30, 1), None)):
        same = Targets(vectors, wrong, torch.ones(1, 30, 1, 1))
        loss = float(contrastive_loss(noise(1, 30, 4, seed=2), same, masked, config)[0])
        assert loss == pytest.approx(expected) if expected is not None else loss > 0.5


def test_diversity_is_zero_when_all_entries_are_used_alike():
    real = torch.tensor([[True, True, True, False]])
    alike = torch.full((1, 4, 2, 5), 0.2)
    assert float(diversity_loss(alike, real)) == pytest.approx(0, abs=1e-6)
    one = F.one_hot(torch.zeros(1, 4, 2).long(), 5).float()
    one[0, 3] = torch.tensor([0, 1, 0, 0, 0.0])  # padding does not count
    assert float(diversity_loss(one, real)) == pytest.approx(0.8, abs=1e-6)


def test_prediction_loss_counts_asked_steps_only():
    logits, ids = noise(2, 5, 1, 6), torch.randint(0, 6, (2, 5, 1), generator=generator())
    asked = torch.tensor([[True, False, True, False, False], [False] * 5])
    loss, accuracy = prediction_loss(logits, ids, asked)
    expected = [-float(logits[0, t, 0].log_softmax(0)[ids[0, t, 0]]) for t in (0, 2)]
    assert float(loss) == pytest.approx(sum(expected) / 2, rel=1e-5)
    right = [int(logits[0, t, 0].argmax()) == int(ids[0, t, 0]) for t in (0, 2)]
    assert float(accuracy) == pytest.approx(sum(right) / 2)
    nothing = prediction_loss(logits, ids, torch.zeros_like(asked))
    assert [float(x) for x in nothing] == [0, 0]


def test_usage_counts_ids():
    perplexity, used = usage(torch.tensor([[0], [0], [3], [3], [-1]]), 5)
    assert float(perplexity) == pytest.approx(2)
    assert float(used) == 2
    # Two groups with ids of the same numbers are counted apart: 2 ids alike, and one alone.
    perplexity, used = usage(torch.tensor([[0, 4], [1, 4], [-1, -1]]), 5)
    assert float(perplexity) == pytest.approx((2 + 1) / 2)
    assert float(used) == 1.5


def test_quantizer_gives_codebook_vectors_and_lets_gradients_through():
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(TargetQuantizerConfig(groups=2, entries=5, width=6), 16)
    x = noise(2, 7, 16).requires_grad_()
    real = torch.ones(2, 7, dtype=torch.bool)
    out = quantizer.eval()(x, real, 0.5, None)
    by_hand = torch.cat([quantizer.codebook[g][out.ids[..., g]] for g in range(2)], dim=-1)
    torch.testing.assert_close(out.vectors, quantizer.out(by_hand))
    assert torch.equal(out.ids, out.probabilities.argmax(dim=-1))
    quantizer.train()(x, real, 0.5, generator()).vectors.square().sum().backward()
    assert x.grad.any()
    for parameter in quantizer.parameters():
        assert parameter.grad.any()


def test_progress_sharpens_the_gradient_not_the_choice():
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(TargetQuantizerConfig(entries=10, width=4), 16).train()
    x, real = noise(2, 20, 16), torch.ones(2, 20, dtype=torch.bool)
    early, late = (quantizer(x, real, progress, generator()) for progress in (0.0, 1.0))
    torch.testing.assert_close(early.vectors, late.vectors)
    grads = [
        torch.autograd.grad(out.vectors.square().sum(), quantizer.score.weight)[0]
        for out in (early, late)
    ]
    assert not torch.allclose(grads[0], grads[1], rtol=0.1)


def test_what_all_steps_share_does_not_choose_the_entry():
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(TargetQuantizerConfig(entries=50, width=4), 16).eval()
    x, real = noise(2, 20, 16), torch.ones(2, 20, dtype=torch.bool)
    real[1, 10:] = False
    moved = torch.where(real[..., None], 3 * x + 100 * noise(16), 1e3)  # padding does not count
    ids, after = quantizer(x, real, 0.0, None).ids, quantizer(moved, real, 0.0, None).ids
    assert torch.equal(ids[real], after[real])
    assert len(ids[real].unique()) > 8


def test_what_lies_beyond_the_lengths_never_counts():
    made, lengths = network().train(), torch.tensor([6400, 3000])
    waveform = noise(2, 6400)
    other = waveform.clone()
    other[1, 3000:] = 5 * noise(3400, seed=9)
    first, second = (made(x, None, lengths, generator=generator()) for x in (waveform, other))
    torch.testing.assert_close(first.loss, second.loss)
    assert int(first.masked_steps) <= 10 + 5


def test_targets_come_from_the_clean_and_the_network_hears_the_noisy():
    made = network().eval()
    heard: list[torch.Tensor] = []
    made.conformer.subsampling.register_forward_hook(lambda _, given, out: heard.append(given[0]))
    clean, noisy = noise(1, 6400), noise(1, 6400, seed=2)
    both = made(clean, noisy, generator=generator())
    assert torch.equal(heard[0], noisy)
    assert torch.equal(heard[1], clean)
    same = made(clean, clean, generator=generator())
    assert float(both.perplexity) == pytest.approx(float(same.perplexity))  # the targets' own
    assert float(both.loss.detach()) != pytest.approx(float(same.loss.detach()))
    torch.testing.assert_close(same.loss, made(clean, generator=generator()).loss)


@pytest.mark.parametrize("replacement", ["noise", "learnt"])
def test_what_is_hidden_is_not_seen(replacement: str):
    masking = {"start_probability": 0.1, "span": 3, "replacement": replacement}
    made = network(masking=masking)
    x, masked = noise(1, 20, 16), torch.zeros(1, 20, dtype=torch.bool)
    masked[0, 4:9] = True
    other = torch.where(masked[..., None], 7 * x, x)
    hidden = made.hide(x, masked, generator())
    assert torch.equal(hidden, made.hide(other, masked, generator()))
    assert torch.equal(hidden[~masked], x[~masked])


def test_one_seed_gives_one_loss():
    made, waveform = network().train(), noise(2, 8000)
    state = torch.get_rng_state()
    losses = [float(made(waveform, generator=generator(s)).loss.detach()) for s in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"quantizer": {"groups": 2, "entries": 6, "width": 8}},
        {"quantizer": {"kind": "clusters", "entries": 6, "width": 8}},
        {"masking": {"start_probability": 0.1, "span": 3, "replacement": "learnt"}},
    ],
)
def test_gradients_reach_every_weight(changes: dict):
    made = network(**changes).train()
    made(noise(2, 16_000), noise(2, 16_000, seed=2), generator=generator()).loss.backward()
    without = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_targets_from_outside():
    made = network(external_targets=7, contrastive_weight=0.0).train()
    assert made.quantizer is None
    targets = torch.randint(0, 7, (2, 13), generator=generator())
    targets[1, 8:] = -1
    out = made(noise(2, 8000), targets=targets, generator=generator())
    assert float(out.loss.detach()) == pytest.approx(float(out.masked_prediction))
    assert float(out.contrastive) == 0
    assert float(out.used_ids) <= 7
    out.loss.backward()
    untold = made(noise(2, 8000), targets=torch.full((2, 13), -1), generator=generator())
    assert float(untold.loss.detach()) == 0
    assert int(untold.masked_steps) == 0


def test_targets_and_the_setting_belong_together():
    with pytest.raises(ConfigurationError, match="external_targets is 0"):
        network()(noise(1, 8000), targets=torch.zeros(1, 13).long())
    with pytest.raises(ConfigurationError, match="external_targets is 7"):
        network(external_targets=7)(noise(1, 8000))


@pytest.mark.parametrize(
    "wrong", [{"contrastive_layers": 3}, {"contrastive_weight": 0.0}, {"unknown": 1}]
)
def test_impossible_settings_are_refused(wrong: dict):
    with pytest.raises(ValidationError):
        network(**wrong)


def test_the_loss_falls_on_one_batch():
    made, waveform = network().train(), noise(2, 16_000)
    optimizer = torch.optim.Adam(made.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        out = made(waveform, generator=generator(1), progress=0.5)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        losses.append(float(out.loss.detach()))
    assert losses[-1] < 0.75 * losses[0]
    assert float(out.used_ids) > 2


def test_bf16_autocast_is_near_float32():
    made, waveform = network().train(), noise(2, 8000)
    exact = made(waveform, generator=generator())
    with torch.autocast("cpu", torch.bfloat16):
        rough = made(waveform, generator=generator())
    assert rough.loss.dtype == torch.float32
    assert float(rough.loss.detach()) == pytest.approx(float(exact.loss.detach()), rel=0.1)
    rough.loss.backward()
    assert all(p.grad.isfinite().all() for p in made.parameters())


def test_features_are_those_of_use():
    made = network(conformer=TINY.conformer.model_dump() | {"dropout": 0.5}).train()
    waveform = noise(2, 4000)
    first = made.features(waveform, torch.tensor([4000, 2000]), layer=2)
    assert torch.equal(first, made.features(waveform, torch.tensor([4000, 2000]), layer=2))
    assert made.training
    assert not first.requires_grad
    torch.testing.assert_close(first[1:, :4], made.features(waveform[1:, :2000], layer=2))


def test_the_published_size():
    config = W2vBertConfig(
        conformer=ConformerConfig(layers=24, width=1024, heads=8, feed_forward=4096, kernel=5),
        contrastive_layers=12,
        quantizer=TargetQuantizerConfig(entries=1024, width=1024),
    )
    with torch.device("meta"):
        made = W2vBert(config)
    assert {p.device.type for p in made.state_dict().values()} == {"meta"}
    count = sum(p.numel() for p in made.parameters())
    assert count == pytest.approx(0.6e9, rel=0.05)
