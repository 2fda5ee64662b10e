import pytest
import torch

from audiolm.errors import ConfigurationError
from audiolm.stages import (
    AutoregressiveConfig,
    AutoregressiveStage,
    LayoutConfig,
    TransformerConfig,
)
from audiolm.stages.streams import PAD
from stages.tiny_stages import KINDS, random_streams, tiny


@pytest.mark.parametrize(("kind", "conditioning"), KINDS)
def test_what_comes_later_leaves_earlier_logits_alone(kind, conditioning):
    stage = tiny(kind, conditioning)
    flat = stage.layout.flatten(random_streams(2, 8))
    place = flat.ids.shape[1] // 2
    before = stage.transformer(flat.ids, flat.aligned)
    ids, aligned = flat.ids.clone(), flat.aligned.clone()
    ids[:, place] = (ids[:, place] + 1) % stage.layout.vocabulary
    aligned[:, place] = (aligned[:, place] + 1) % stage.layout.aligned_size
    after = stage.transformer(ids, aligned)
    assert torch.equal(before[:, :place], after[:, :place])
    assert ((before - after)[:, place:].abs().amax(-1) > 1e-4).all()


@pytest.mark.parametrize("slot", [0, 1])
def test_each_companion_matters_at_its_own_position(slot):
    stage = tiny("coarse", "aligned")
    flat = stage.layout.flatten(random_streams(1, 8))
    before = stage.transformer(flat.ids, flat.aligned)
    aligned = flat.aligned.clone()
    assert aligned[0, 4, slot] >= 0
    for value in (PAD, (aligned[0, 4, slot] + 1) % 6):
        aligned[0, 4, slot] = value
        change = (stage.transformer(flat.ids, aligned) - before).abs().amax(-1)[0]
        assert (change[:4] == 0).all() and (change[4:] > 1e-4).all()


def test_the_same_companion_in_another_slot_is_another_thing():
    stage = tiny("coarse", "aligned")
    ids = torch.tensor([[0]])
    one, other = (torch.tensor([[pair]]) for pair in ([2, 3], [3, 2]))
    difference = stage.transformer.embed(ids, one) - stage.transformer.embed(ids, other)
    assert difference.abs().max() > 0.1


@pytest.mark.parametrize(("kind", "conditioning"), KINDS)
def test_vocabulary_logits_are_those_of_the_kind_and_nothing_else(kind, conditioning):
    stage = tiny(kind, conditioning)
    layout = stage.layout
    flat = layout.flatten(random_streams(2, 3))
    hidden = stage.transformer(flat.ids, flat.aligned)
    every = stage.transformer.vocabulary_logits(hidden, flat.kinds)
    for row, place in flat.predicted.nonzero().tolist():
        kind_here = int(flat.kinds[row, place])
        allowed = layout.allowed(kind_here, end=True)
        finite = every[row, place].isfinite().nonzero().squeeze(1).tolist()
        assert finite == list(allowed)
        head = stage.transformer.heads[kind_here - layout.kinds.start]
        torch.testing.assert_close(
            every[row, place, allowed.start : allowed.stop], head @ hidden[row, place]
        )
    assert not every[~flat.predicted].isfinite().any()


@pytest.mark.parametrize(("kind", "conditioning"), KINDS)
def test_every_weight_learns(kind, conditioning):
    stage = tiny(kind, conditioning)
    stage(random_streams(4, 20)).loss.backward()
    for name, weight in stage.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("kind", "ids", "heads"),
    [
        ("semantic", 2 + 1024, 1025),
        ("coarse", 2 + 1024 + 4 * 1024, 4 * 1024),
        ("fine", 2 + 12 * 1024, 8 * 1024),
        ("acoustic_only", 2 + 4 * 1024, 4 * 1024),
    ],
)
def test_the_papers_size_builds_without_memory(kind, ids, heads):
    with torch.device("meta"):
        stage = AutoregressiveStage(
            AutoregressiveConfig(layout=LayoutConfig(kind=kind), context_seconds=10.0)
        )
    blocks = 12 * (4 * 1024 * 1024 + 2 * 1024 * 4096 + 2 * 1024)
    rest = (ids + heads) * 1024 + 1024 + 16 * 32  # embedding, heads, last norm, position bias
    assert sum(weight.numel() for weight in stage.parameters()) == blocks + rest


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"width": 100, "heads": 16}, "width"), ({"buckets": 32, "max_distance": 16}, "max_distance")],
)
def test_sizes_that_cannot_be_are_refused_by_key(settings, key):
    with pytest.raises(ConfigurationError, match=f"^transformer.{key}: "):
        TransformerConfig(**settings)
