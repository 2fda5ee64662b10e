import pytest
import torch

from audiolm.stages.cache import CachedDecoder, quick_weights
from audiolm.stages.streams import PAD
from stages.tiny_stages import KINDS, random_streams, tiny

STEPS = 5


def compare(stage, flat, known, weights=None):
    """The largest difference between cached steps and the whole sequence at once."""
    rows, place = torch.arange(len(known)), torch.arange(flat.ids.shape[1])
    whole = stage.transformer(flat.ids, flat.aligned)
    kind = stage.layout.kinds[-1]
    beginnings = flat.ids.masked_fill(place >= known[:, None], PAD)[:, : int(known.max())]
    aligned = flat.aligned[:, : int(known.max())]
    decoder = CachedDecoder(stage.transformer, len(known), int(known.max()) + STEPS, weights)
    worst = (decoder.prefill(beginnings, aligned) - whole[rows, known - 1]).abs().max()
    for step in range(STEPS):
        here = known + step
        hidden = decoder.step(flat.ids[rows, here], flat.aligned[rows, here])
        worst = torch.maximum(worst, (hidden - whole[rows, here]).abs().max())
        logits = decoder.logits(hidden, kind) - stage.transformer.logits(whole[rows, here], kind)
        worst = torch.maximum(worst, logits.abs().max())
    return float(worst)


@torch.no_grad()
@pytest.mark.parametrize("known", [[7], [7, 7], [2, 9, 6], [1, 1]])
@pytest.mark.parametrize(("kind", "conditioning"), KINDS)
def test_cached_steps_equal_the_whole_sequence(kind, conditioning, known):
    stage = tiny(kind, conditioning, remove_repeats=False)
    flat = stage.layout.flatten(random_streams(len(known), 30))
    assert compare(stage, flat, torch.tensor(known)) < 1e-5


@torch.no_grad()
def test_half_precision_weights_change_little():
    stage = tiny("coarse", "aligned")
    flat = stage.layout.flatten(random_streams(2, 30))
    difference = compare(stage, flat, torch.tensor([4, 6]), torch.float16)
    assert 0 < difference < 0.02


@pytest.mark.parametrize(
    ("device", "capability", "rows", "expected"),
    [
        ("cpu", "AVX512", 1, torch.float16),
        ("cpu", "AVX2", 1, torch.float16),
        ("cpu", "AVX512", 2, torch.float32),
        ("cpu", "DEFAULT", 1, torch.float32),
        ("meta", "AVX512", 1, torch.float32),
    ],
)
def test_half_the_width_where_it_is_quicker(monkeypatch, device, capability, rows, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert quick_weights(torch.device(device), rows) == expected
