"""What is made is marked, what was recorded is not; both say in their containers what they are."""

import numpy as np
import pytest

from audiolm.audio.metadata import read_metadata
from audiolm.safety.watermark import Payload, mark, read_mark
from tiny import noise, tiny_model


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic", "coarse", "fine", "acoustic_only"))


def payload(lm):
    return Payload.of_model(lm.name, lm.fingerprint)


@pytest.mark.parametrize("baseline", [None, "acoustic-only"])
def test_of_a_continuation_what_follows_the_prompt_is_marked(lm, baseline):
    plain, marked = (
        lm.continuation(noise(1.0), 0.5, baseline=baseline, mark=m).samples for m in (False, True)
    )
    assert np.array_equal(marked[:16_000], plain[:16_000])
    assert np.array_equal(marked[16_000:], mark(plain[16_000:], payload(lm)))
    assert not np.array_equal(marked[16_000:], plain[16_000:])
    alone = lm.continuation(noise(1.0), 0.5, baseline=baseline, continuation_only=True).samples
    assert np.array_equal(alone, marked[16_000:])


def test_all_of_the_other_modes_is_marked_and_reconstruction_is_not(lm):
    for made in (
        lambda m: lm.unconditional(0.5, mark=m),
        lambda m: lm.acoustic_generation(noise(0.5), mark=m),
    ):
        assert np.array_equal(made(True).samples, mark(made(False).samples, payload(lm)))
    assert lm.reconstruction(noise(0.5)).origin is None
    tokens = lm.tokenize(noise(0.5))
    assert lm.decode(tokens).origin is None
    assert np.array_equal(lm.decode(tokens).samples, lm.reconstruction(noise(0.5)).samples)


@pytest.mark.parametrize("only", [True, False])
def test_a_stream_is_marked_as_the_whole(lm, only):
    expected = lm.continuation(noise(1.0), 1.3, continuation_only=only)
    chunks = list(lm.stream(noise(1.0), 1.3, continuation_only=only))
    streamed = np.concatenate([chunk.samples for chunk in chunks])
    assert np.abs(streamed - expected.samples).max() < 1e-4
    assert all(len(chunk.samples) and chunk.origin == chunks[0].origin for chunk in chunks)
    plain = list(lm.stream(noise(1.0), 1.3, continuation_only=only, mark=False))
    assert not plain[0].origin.marked
    assert np.abs(np.concatenate([c.samples for c in plain]) - streamed).max() > 1e-3


def test_it_is_read_back(lm):
    reading = read_mark(lm.unconditional(4.0).samples, 16_000)
    assert reading.found and reading.payload == payload(lm)


@pytest.mark.parametrize(
    ("make", "mode", "prompt_seconds"),
    [
        (lambda lm: lm.continuation(noise(1.0), 0.2, seed=5), "continuation", 1.0),
        (lambda lm: lm.unconditional(0.2, seed=5), "unconditional", 0.0),
        (lambda lm: lm.acoustic_generation(noise(0.3), seed=5), "acoustic generation", 0.0),
        (
            lambda lm: lm.continuation(noise(1.0), 0.2, seed=5, baseline="acoustic-only"),
            "continuation, acoustic-only",
            1.0,
        ),
    ],
)
def test_it_says_where_it_comes_from(lm, tmp_path, make, mode, prompt_seconds):
    make(lm).write(tmp_path / "a.flac")
    origin = read_metadata(tmp_path / "a.flac").origin
    assert (origin.mode, origin.seed, origin.prompt_seconds) == (mode, 5, prompt_seconds)
    assert (origin.fingerprint, origin.marked) == (lm.fingerprint, True)
