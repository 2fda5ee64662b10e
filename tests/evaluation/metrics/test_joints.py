"""Steps at joints, of sounds that are known."""

import numpy as np
import pytest

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics import joints


def tone(frequency, seconds, gain=0.1):
    """Twenty harmonics of one pitch."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    waves = [np.sin(2 * np.pi * n * frequency * time) / n for n in range(1, 21)]
    return (gain * sum(waves)).astype(np.float32)


def sound(*pieces):
    return Audio(np.concatenate(pieces), 16_000)


def test_an_even_sound_has_no_step():
    found = joints.evaluate(sound(tone(125, 2.0)), [0.5, 1.5])
    assert found["level_step"] == pytest.approx(0, abs=0.1)
    assert found["pitch_step"] == pytest.approx(0, abs=0.05)


def test_steps_are_those_that_were_made_whichever_way():
    whole = sound(tone(125, 1.0), tone(250, 1.0, 0.2), tone(125, 1.0))
    found = joints.evaluate(whole, [1.0, 2.0])
    assert found["level_step"] == pytest.approx(20 * np.log10(2), abs=0.3)
    assert found["pitch_step"] == pytest.approx(12, abs=0.3)
    assert joints.evaluate(whole, [0.5, 1.5])["pitch_step"] == pytest.approx(0, abs=0.05)


def test_what_has_no_voice_has_no_pitch_and_silence_no_level():
    quiet = Audio(np.zeros(32_000, np.float32), 16_000)
    assert joints.evaluate(quiet, [1.0]) == {"level_step": 0.0, "pitch_step": None}
    half = sound(tone(125, 1.0), np.zeros(16_000, np.float32))
    found = joints.evaluate(half, [1.0])
    assert found["pitch_step"] is None and found["level_step"] > 30


@pytest.mark.parametrize("points", [[], [0.05], [1.96], [float("nan")]])
def test_points_too_near_an_end_are_refused(points):
    with pytest.raises(ValueError, match="on both sides"):
        joints.evaluate(sound(tone(125, 2.0)), points)
