"""A stream is a continuation that comes in chunks: the same tokens, the same samples."""

import gc
from contextlib import nullcontext
from itertools import islice

import numpy as np
import pytest
import torch

import audiolm.modes
from audiolm.audio import level
from audiolm.errors import AudioError, ConfigurationError, ModelFolderError
from audiolm.model import AudioLM
from audiolm.prompt import PromptCutWarning
from audiolm.streaming import FIRST_FRAMES, LARGEST_FRAMES
from tiny import LEVELS, noise, tiny_model

ALL_STAGES = ("semantic", "coarse", "fine", "acoustic_only")
TOLERANCE = 1e-4
"""That of a codec's streams."""

LAYOUTS = [
    {},
    {"remove_repeats": False},
    {"conditioning": "aligned", "look_ahead": 2, "remove_repeats": False},
    {"conditioning": "both", "look_ahead": 1, "remove_repeats": False},
]
"""Repeats drawn and left out, and every way in which semantic ids condition the codes."""


@pytest.fixture(scope="module")
def lm() -> AudioLM:
    return tiny_model(kinds=ALL_STAGES)


@pytest.fixture(scope="module")
def aligned() -> AudioLM:
    """A model whose coarse stage needs no semantic id before its time."""
    return tiny_model(kinds=("semantic", "coarse"), **LAYOUTS[2])


def whole(chunks) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks])


def decoded(lm, monkeypatch):
    """The codes (1, q, F) that `lm` decodes from now on, in pieces, however it does."""
    pieces = []

    class Spy:
        def __init__(self):
            self.stream = original()

        def push(self, codes):
            pieces.append(codes.clone())
            return self.stream.push(codes)

        def flush(self):
            return self.stream.flush()

    def at_once(codec, codes):
        pieces.append(codes.clone())
        return codec.decode(codes)

    original = lm.codec.decoder_stream
    monkeypatch.setattr(lm.codec, "decoder_stream", Spy)
    monkeypatch.setattr(audiolm.modes, "decode_in_chunks", at_once)
    return pieces


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kinds", [ALL_STAGES[:2], ALL_STAGES[:3]])
def test_a_stream_is_the_continuation_beyond_every_context(layout, kinds, monkeypatch):
    model = tiny_model(kinds=kinds, **layout)
    if "fine" in kinds and layout:
        model.info = model.info.model_copy(update={"levels": LEVELS - 1})
    prompt, seconds = noise(0.73), 5.017
    pieces = decoded(model, monkeypatch)
    expected = model.continuation(prompt, seconds, seed=4, continuation_only=True).samples
    codes = pieces.pop()
    streamed = whole(model.stream(prompt, seconds, seed=4))
    assert torch.equal(torch.cat(pieces, dim=2), codes)
    assert len(streamed) == len(expected) == round(seconds * 16_000)
    assert np.abs(streamed - expected).max() < TOLERANCE


def test_settings_reach_the_stages(lm, monkeypatch):
    prompt = noise(1.3)
    pieces = decoded(lm, monkeypatch)
    sampling = {kind: audiolm.Sampling(temperature=1.5, top_k=5) for kind in ("semantic", "coarse")}
    for settings in (
        {"baseline": "acoustic-only", "seed": 2},
        {"levels": 1},
        {"levels": 3, "prompt_seconds": 0.9},
        {"sampling": sampling},
    ):
        pieces.clear()
        cut = "prompt_seconds" in settings
        with pytest.warns(PromptCutWarning) if cut else nullcontext():
            lm.continuation(prompt, 1.1, **settings)
            codes = pieces.pop()
            list(lm.stream(prompt, 1.1, **settings))
        assert torch.equal(torch.cat(pieces, dim=2), codes)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_stream_can_be_guided(layout, monkeypatch):
    model = tiny_model(kinds=("semantic", "coarse"), **layout)
    stage = model.stages["coarse"]
    stage.config = stage.config.model_copy(update={"conditioning_dropout": 0.1})
    settings = {"sampling": {"coarse": audiolm.Sampling(temperature=0.8, guidance=2.0)}, "seed": 1}
    pieces = decoded(model, monkeypatch)
    model.continuation(noise(1.0), 3.0, **settings)
    codes = pieces.pop()
    list(model.stream(noise(1.0), 3.0, **settings))
    assert torch.equal(torch.cat(pieces, dim=2), codes)


@pytest.mark.parametrize("prompt", [noise(1.0), None])
def test_the_level_of_a_long_stream_is_held_as_that_of_a_continuation(aligned, monkeypatch, prompt):
    def made(**settings):
        if prompt is None:
            return aligned.unconditional(6.0, mark=False, **settings).samples
        return aligned.continuation(prompt, 6.0, mark=False, **settings).samples

    free = made()
    settings = {"AFTER": 1.0, "WITHOUT_PROMPT": 1.0, "FREE": 0.0, "SLEW": 200.0, "MEMORY": 0.04}
    for name, value in settings.items():
        monkeypatch.setattr(level, name, value)
    held = made()
    begun = 2 * 16_000
    assert np.array_equal(held[:begun], free[:begun])
    assert np.abs(held[begun:] - free[begun:]).max() > 10 * TOLERANCE
    streamed = whole(aligned.stream(prompt, 6.0, mark=False, continuation_only=False))
    assert np.abs(streamed - held).max() < TOLERANCE
    if prompt is not None:
        assert np.array_equal(streamed[16_000:], whole(aligned.stream(prompt, 6.0, mark=False)))


def test_the_prompt_may_be_heard_first(lm):
    prompt = noise(1.0)
    chunks = [chunk.samples for chunk in lm.stream(prompt, 1.5, continuation_only=False)]
    expected = lm.continuation(prompt, 1.5).samples
    assert np.abs(np.concatenate(chunks) - expected).max() < TOLERANCE


def test_without_a_prompt_it_is_an_unconditional_generation(aligned):
    streamed = whole(aligned.stream(None, 2.5, seed=1))
    assert np.abs(streamed - aligned.unconditional(2.5, seed=1).samples).max() < TOLERANCE


def test_a_stream_without_end_begins_like_any_other(aligned):
    prompt, expected = noise(1.0), aligned.continuation(noise(1.0), 9.0, continuation_only=True)
    chunks = aligned.stream(prompt, seed=0)
    streamed = whole(islice(chunks, 14))
    chunks.close()
    assert 5.0 < len(streamed) / 16_000 < 9.0
    assert np.abs(streamed - expected.samples[: len(streamed)]).max() < TOLERANCE


def test_repeats_that_are_left_out_are_held_evenly_without_end():
    model = tiny_model(kinds=("semantic", "coarse"), seed=3)
    assert model.stages["semantic"].config.layout.remove_repeats
    streamed = whole(islice(model.stream(noise(1.0)), 10))
    assert len(streamed) > 3 * 16_000


def test_the_first_chunk_is_short_and_none_is_long(aligned):
    # Unmarked: the mark holds 20 ms back.
    chunks = islice(aligned.stream(noise(1.0), mark=False), 8)
    frames = [len(chunk.samples) / 320 for chunk in chunks]
    assert frames[0] == FIRST_FRAMES
    assert frames == sorted(frames) and frames[-1] == LARGEST_FRAMES


def test_stages_take_turns(aligned, monkeypatch):
    drawn = []
    stage = aligned.stages["semantic"]
    original = stage.decode_stream

    def counted(*args, **kwargs):
        for piece in original(*args, **kwargs):
            drawn.append(piece)
            yield piece

    monkeypatch.setattr(stage, "decode_stream", counted)
    chunks = aligned.stream(noise(1.0), 60.0, mark=False)  # the mark holds 20 ms back
    assert not drawn
    heard = 0
    for chunk in islice(chunks, 5):
        heard += len(chunk.samples)
        needed = -(-heard // 640) + 2  # the look-ahead
        assert len(drawn) == needed


def living_bytes() -> int:
    gc.collect()
    storages = {
        thing.untyped_storage().data_ptr(): thing.untyped_storage().nbytes()
        for thing in gc.get_objects()
        if issubclass(type(thing), torch.Tensor)
    }
    return sum(storages.values())


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[2]])
def test_what_was_made_is_forgotten(layout):
    model = tiny_model(kinds=("semantic", "coarse"), **layout)
    chunks = model.stream(noise(1.0))
    measured = []
    for _ in range(6):  # the windows are of 4 and 2 seconds
        for _chunk in islice(chunks, 8):
            pass
        measured.append(living_bytes())
    assert max(measured[3:]) <= max(measured[:3])


@pytest.mark.parametrize("kind", ["semantic", "coarse"])
def test_closing_ends_every_stage(aligned, monkeypatch, kind):
    ended = []
    stage = aligned.stages[kind]
    original = stage.decode_stream

    def watched(*args, **kwargs):
        try:
            yield from original(*args, **kwargs)
        finally:
            ended.append(kind)

    monkeypatch.setattr(stage, "decode_stream", watched)
    chunks = aligned.stream(noise(1.0))
    next(chunks)
    assert not ended
    chunks.close()
    gc.collect()
    assert ended == [kind]
    assert next(chunks, None) is None


def test_between_two_chunks_all_state_is_the_callers(aligned):
    state = torch.random.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        streamed = []
        for chunk in aligned.stream(noise(1.0), 1.0):
            streamed.append(chunk)
            assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
            assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(state, torch.random.get_rng_state())
    expected = aligned.continuation(noise(1.0), 1.0, continuation_only=True).samples
    assert np.abs(whole(streamed) - expected).max() < TOLERANCE


def test_what_cannot_be_is_refused_at_the_call(lm, aligned):
    with pytest.raises(AudioError, match="too short"):
        lm.stream(noise(0.2), 1.0)
    with pytest.raises(AudioError, match="need an Audio, got list"):
        lm.stream([noise(1.0)], 1.0)
    with pytest.raises(ConfigurationError, match="seconds"):
        lm.stream(noise(1.0), float("nan"))
    with pytest.raises(ConfigurationError, match="baseline"):
        lm.stream(noise(1.0), 1.0, baseline="loud")
    with pytest.raises(ModelFolderError, match="no stage acoustic_only"):
        aligned.stream(noise(1.0), 1.0, baseline="acoustic-only")
