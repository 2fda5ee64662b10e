import numpy as np
import pytest

from audiolm.evaluation.metrics.voicing import (
    Track,
    evaluate,
    periodicity_error,
    pitch_error,
    track,
    voicing_f1,
)


def tracks(pitch, periodicity=None):
    pitch = np.array(pitch, dtype=float)
    return Track(pitch, np.full(len(pitch), 0.5) if periodicity is None else np.array(periodicity))


def test_equal_tracks_are_without_error():
    one = tracks([100, 0, 200])
    assert evaluate(one, one) == {"pitch_error": 0, "periodicity_error": 0, "voicing_f1": 1}


def test_pitch_error_is_in_cents_and_counts_frames_voiced_in_both():
    reference, estimate = tracks([100, 100, 100, 0]), tracks([200, 100, 0, 300])
    assert pitch_error(reference, estimate) == pytest.approx(1200 / 2**0.5)
    assert pitch_error(tracks([0, 100]), tracks([100, 0])) is None


def test_voicing_f1_is_the_harmonic_mean_of_precision_and_recall():
    reference, estimate = tracks([1, 1, 1, 0, 0]), tracks([1, 0, 0, 1, 0])
    precision, recall = 1 / 2, 1 / 3
    expected = 2 * precision * recall / (precision + recall)
    assert voicing_f1(reference, estimate) == pytest.approx(expected)
    assert voicing_f1(tracks([0]), tracks([0])) is None


def test_periodicity_error_is_over_all_frames():
    reference = tracks([0, 0], [1.0, 0.0])
    assert periodicity_error(reference, tracks([9, 9], [0.0, 0.0])) == pytest.approx(0.5**0.5)


@pytest.mark.parametrize(
    "bad",
    [tracks([1, 2, 3]), tracks([]), tracks([float("nan"), 1]), tracks([-1, 1])],
)
def test_tracks_that_cannot_be_compared_are_refused(bad):
    with pytest.raises(ValueError, match="tracks"):
        evaluate(tracks([1, 2]), bad)


def test_a_voice_is_followed():
    praat = pytest.importorskip("parselmouth", reason="needs praat-parselmouth")
    t = np.arange(16000) / 16000
    voice = 0.1 * sum(np.cos(2 * np.pi * k * 140 * t) / k for k in range(1, 11))
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000)
    clear, hoarse = (track(praat, x, 16000) for x in (voice, voice + noise))
    assert np.median(clear.pitch[5:-5]) == pytest.approx(140, rel=0.01)
    assert clear.periodicity[5:-5].mean() > 0.95 > hoarse.periodicity[5:-5].mean()
    assert (track(praat, noise, 16000).pitch > 0).mean() < 0.5
