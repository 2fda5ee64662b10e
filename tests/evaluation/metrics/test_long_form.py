"""Streams minute by minute: what falls silent, and what goes round in circles."""

import numpy as np
import pytest

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics.long_form import evaluate, fresh_share, minutes_of


def sound(gain, seconds=2.0):
    signs = np.random.default_rng(0).choice([-1, 1], round(seconds * 16_000))
    return Audio((gain * signs).astype(np.float32), 16_000)


def test_levels_and_silence_are_beside_the_prompt():
    ids = [np.arange(50)] * 3
    found = evaluate(sound(0.1, 1.0), [sound(0.1), sound(0.01), sound(0.0001)], ids)
    assert found["level"] == pytest.approx([0, -20, -60], abs=0.01)
    assert found["silence"] == [0, 0, 100]


def test_a_loop_has_few_fresh_runs():
    generator = np.random.default_rng(0)
    lively, loop = generator.integers(0, 500, 1500), np.tile(generator.integers(0, 500, 50), 30)
    found = evaluate(sound(0.1), [sound(0.1)] * 2, [lively, loop])
    assert found["distinct"][0] == len(set(lively.tolist())) > 400
    assert found["distinct"][1] == len(set(loop.tolist())) <= 50
    assert found["fresh"] == pytest.approx([100, 100 * 50 / 1497])


def test_runs_are_counted_one_by_one():
    assert fresh_share(np.array([1, 2, 1, 2, 1, 2])) == 2 / 3  # 1212, 2121, 1212
    assert fresh_share(np.array([1, 2])) == 1


def test_minutes_are_whole():
    stream = Audio(np.arange(10, dtype=np.float32) / 10, 2)
    minutes = minutes_of(stream, 2.0)
    assert [minute.samples.tolist() for minute in minutes] == [
        pytest.approx([0, 0.1, 0.2, 0.3]),
        pytest.approx([0.4, 0.5, 0.6, 0.7]),
    ]
    assert minutes_of(stream) == []


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="2 minutes, but ids of 1"):
        evaluate(sound(0.1), [sound(0.1)] * 2, [np.arange(5)])
    with pytest.raises(ValueError, match="16000 samples per second"):
        evaluate(sound(0.1), [Audio(np.zeros(8, np.float32), 8_000)], [np.arange(5)])
