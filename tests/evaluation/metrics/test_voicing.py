"""Hoarseness: against sounds whose pitch and periodicity are known."""

import numpy as np
import pytest

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics import voicing
from audiolm.evaluation.metrics.quality import WORST_PESQ, pesq
from audiolm.evaluation.metrics.voicing import (
    PitchTrack,
    evaluate,
    periodicity_change,
    periodicity_rmse,
    pitch_error,
    track,
    voicing_f1,
)
from audiolm.evaluation.requirements import Skipped
from tiny import noise


def tone(hertz, seconds=1.0):
    """A voice without a mouth: ten harmonics."""
    t = np.arange(round(16_000 * seconds)) / 16_000
    samples = sum(np.sin(2 * np.pi * k * hertz * t) / k for k in range(1, 11))
    return Audio((0.2 * samples).astype(np.float32), 16_000)


def frames(pitch, periodicity):
    return PitchTrack(np.array(pitch, dtype=float), np.array(periodicity, dtype=float))


REAL = frames([100, 100, 100, 0, 0], [0.9, 0.8, 0.9, 0.2, 0.1])


def test_by_hand():
    made = frames([200, 100, 0, 0, 100], [0.9, 0.4, 0.8, 0.2, 0.6])
    assert pitch_error(made, REAL) == pytest.approx(np.sqrt(1200**2 / 2))  # an octave and nothing
    assert voicing_f1(made, REAL) == pytest.approx(100 * 2 * (2 / 3) * (2 / 3) / (4 / 3))
    assert periodicity_rmse(made, REAL) == pytest.approx(np.sqrt((0.4**2 + 0.1**2 + 0.5**2) / 5))
    assert periodicity_change(made, REAL) == pytest.approx(
        -0.5 / 3
    )  # of what is voiced in the recording


def test_frames_that_one_lacks_do_not_count():
    longer = frames([*REAL.pitch, 300], [*REAL.periodicity, 0.0])
    assert periodicity_rmse(longer, REAL) == 0
    assert voicing_f1(REAL, longer) == 100


def test_where_nothing_is_voiced_there_is_no_answer():
    silent = frames([0, 0], [0, 0])
    assert pitch_error(silent, silent) is None
    assert voicing_f1(silent, silent) is None
    assert periodicity_change(silent, silent) is None
    assert voicing_f1(silent, frames([100, 0], [1, 0])) == 0
    assert periodicity_rmse(frames([], []), silent) is None


@pytest.mark.parametrize("hertz", [70.0, 120.0, 250.0, 450.0])
def test_a_tone_is_followed(hertz):
    pytest.importorskip("parselmouth")
    found = track(tone(hertz))
    assert found.voiced.mean() > 0.9
    assert np.median(found.pitch[found.voiced]) == pytest.approx(hertz, rel=0.005)
    assert np.median(found.periodicity) > 0.95


def test_noise_is_no_voice_and_a_moment_has_no_frames():
    pytest.importorskip("parselmouth")
    found = track(
        Audio(0.1 * np.random.default_rng(0).standard_normal(16_000).astype("f4"), 16_000)
    )
    assert found.voiced.mean() < 0.1
    assert np.median(found.periodicity) < 0.6
    assert len(track(tone(100, 0.03)).pitch) == 0


def test_a_semitone_is_a_hundred_cents():
    pytest.importorskip("parselmouth")
    up = track(tone(200 * 2 ** (1 / 12)))
    assert pitch_error(up, track(tone(200))) == pytest.approx(100, abs=3)


def test_noise_in_a_voice_is_hoarseness(speech_like):
    pytest.importorskip("parselmouth")
    pytest.importorskip("pesq")
    real = Audio(speech_like(3.0), 16_000)
    same = evaluate(real, real)
    assert same["pesq"] == pytest.approx(4.644, abs=0.01)
    same.pop("pesq")
    assert same == {
        "periodicity_rmse": 0,
        "periodicity_change": 0,
        "voicing_f1": 100,
        "pitch_error": 0,
    }
    some, more = (
        evaluate(Audio(real.samples + level * noise(3.0, 1).samples, 16_000), real)
        for level in (0.05, 0.3)
    )
    assert 0 > some["periodicity_change"] > more["periodicity_change"]
    assert 0 < some["periodicity_rmse"] < more["periodicity_rmse"]
    assert some["pesq"] > more["pesq"]
    assert set(some) == set(voicing.UNITS)


def test_pesq_of_silence_is_the_worst_or_none(speech_like):
    pytest.importorskip("pesq")
    real, silence = Audio(speech_like(1.0), 16_000), Audio(np.zeros(16_000, np.float32), 16_000)
    assert pesq(silence, real) == WORST_PESQ
    assert pesq(silence, silence) is None
    assert pesq(real, silence) is None
    assert pesq(real.first(0.1), real.first(0.1)) is None


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("parselmouth", lambda: track(noise(1.0))),
        ("pesq", lambda: pesq(noise(1.0), noise(1.0))),
    ],
)
def test_a_package_that_is_absent_is_named(package, call, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(Skipped, match=rf"{package}.*audiolm\[evaluate\]"):
        call()
