import pytest
import torch

from audiolm.errors import ConfigurationError
from audiolm.stages import AutoregressiveConfig, AutoregressiveStage, Sampling, Streams
from audiolm.stages.guidance import drop_conditioning, guided, with_unconditional_rows
from audiolm.stages.streams import MASK, PAD
from stages.tiny_stages import random_streams, tiny


def guidable(conditioning, **more):
    """A tiny coarse stage that says it has heard rows without conditioning."""
    plain = tiny("coarse", conditioning, **more)
    config = plain.config.model_copy(update={"conditioning_dropout": 0.5})
    stage = AutoregressiveStage(config)
    stage.load_state_dict(plain.state_dict())
    return stage.eval()


def next_logits(stage, streams):
    """Logits of what comes at the first mask of one row, without a cache."""
    flat = stage.layout.flatten(streams)
    place = int((flat.ids[0] == MASK).nonzero()[0]) - 1
    kind = int(flat.kinds[0, place])
    hidden = stage.transformer(flat.ids[:, : place + 1], flat.aligned[:, : place + 1])[0, -1]
    return stage.transformer.heads[kind - stage.layout.kinds.start] @ hidden


@torch.no_grad()
def plain_guided_codes(stage, semantic, codes, steps, guidance):
    """Greedy codes of one row within one window, frame by frame, from two whole sequences."""
    prompt = codes.shape[2]
    codes = torch.cat([codes, torch.full((1, codes.shape[1], steps), MASK)], 2)
    for frame in range(prompt, prompt + steps):
        for level in range(codes.shape[1]):
            given = next_logits(stage, Streams(semantic, codes))
            free = next_logits(stage, Streams(torch.full_like(semantic, PAD), codes))
            codes[0, level, frame] = (free + guidance * (given - free)).argmax()
    return codes


@pytest.mark.parametrize("guidance", [0.0, 1.7, 4.0])
@pytest.mark.parametrize("conditioning", ["prefix", "aligned", "both"])
def test_guided_codes_equal_a_plain_loop(conditioning, guidance):
    stage = guidable(conditioning, context_seconds=1.0)
    streams = random_streams(1, 12, levels=2)
    prompt = streams.codes[..., :3]
    sampling = Sampling(temperature=0.0, guidance=guidance)
    made = stage.generate(
        Streams(streams.semantic, prompt),
        steps=8,
        sampling=sampling,
        generator=torch.Generator().manual_seed(0),
    )
    expected = plain_guided_codes(stage, streams.semantic, prompt, 8, guidance)
    assert torch.equal(made.codes, expected)
    likeliest = plain_guided_codes(stage, streams.semantic, prompt, 8, 1.0)
    assert not torch.equal(expected, likeliest)  # or the test would show nothing


def test_guidance_of_one_draws_what_an_unguided_stage_draws():
    stage = guidable("aligned", context_seconds=0.16)
    streams = random_streams(3, 26, levels=2)
    drawn = [
        stage.generate(
            Streams(streams.semantic, streams.codes[..., :5]),
            steps=20,
            sampling=Sampling(guidance=guidance),
            generator=torch.Generator().manual_seed(3),
        ).codes
        for guidance in (1.0, 1.0 + 1e-7)  # the second takes the guided way
    ]
    assert drawn[0].shape == (3, 2, 25)
    assert torch.equal(*drawn)


def test_unconditional_rows_have_the_codes_and_no_semantic_ids():
    streams = random_streams(2, 5, levels=2)
    doubled = with_unconditional_rows(Streams(streams.semantic, streams.codes))
    assert torch.equal(doubled.semantic[:2], streams.semantic)
    assert bool((doubled.semantic[2:] == PAD).all())
    assert torch.equal(doubled.codes, torch.cat([streams.codes, streams.codes]))


def test_guided_logits_go_from_the_unconditional_through_the_conditional():
    logits = torch.tensor([[1.0, 5.0], [0.0, 1.0]])  # conditional, unconditional
    assert guided(logits, 0.0).tolist() == [[0.0, 1.0]]
    assert guided(logits, 1.0).tolist() == [[1.0, 5.0]]
    assert guided(logits, 2.0).tolist() == [[2.0, 9.0]]


def test_about_the_share_of_rows_is_dropped_and_always_whole_rows():
    torch.manual_seed(0)
    semantic = torch.randint(0, 9, (4000, 3))
    dropped = drop_conditioning(Streams(semantic), 0.1).semantic == PAD
    assert torch.equal(dropped.all(1), dropped.any(1))
    assert 0.08 < float(dropped[:, 0].float().mean()) < 0.12


def test_only_training_drops_conditioning():
    stage = guidable("aligned")
    streams = random_streams(8, 6, levels=2)
    with torch.no_grad():
        judged = {float(stage(streams).loss) for _ in range(3)}
        stage.train()  # the tiny stages have no dropout of their own
        trained = {float(stage(streams).loss) for _ in range(8)}
    assert len(judged) == 1
    assert len(trained) > 1


def test_a_stage_that_never_heard_rows_without_conditioning_cannot_be_guided():
    stage = tiny("coarse", "aligned")
    streams = random_streams(1, 12, levels=2)
    with pytest.raises(ConfigurationError, match=r"coarse stage: guidance is 1\.5"):
        stage.generate(
            Streams(streams.semantic),
            steps=2,
            sampling=Sampling(guidance=1.5),
            generator=torch.Generator(),
        )


@pytest.mark.parametrize("kind", ["semantic", "fine", "acoustic_only"])
def test_what_has_no_semantic_conditioning_has_none_to_drop(kind):
    config = tiny(kind, "aligned" if kind == "fine" else "prefix").config.model_dump()
    with pytest.raises(ConfigurationError, match=r"conditioning_dropout: the .* stage has no"):
        AutoregressiveConfig(**config | {"conditioning_dropout": 0.1})
