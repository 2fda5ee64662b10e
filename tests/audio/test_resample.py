import numpy as np
import pytest

from audiolm.audio.resample import resample


def tone(frequency, sample_rate, seconds=0.5):
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate)


@pytest.mark.parametrize("from_rate", [8000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_a_tone_stays_what_it_is(from_rate):
    resampled = resample(tone(1000, from_rate).astype(np.float32), from_rate, 16_000)
    expected = tone(1000, 16_000)
    assert resampled.dtype == np.float32
    assert len(resampled) == pytest.approx(len(expected), abs=1)
    inside = slice(800, 7200)  # where no edge is near
    np.testing.assert_allclose(resampled[inside], expected[inside], atol=2e-4)


def test_what_does_not_fit_below_half_the_rate_is_removed():
    above = resample(tone(10_000, 48_000).astype(np.float32), 48_000, 16_000)
    assert np.abs(above[800:-800]).max() < 1e-4


def test_the_same_rate_changes_nothing():
    samples = tone(440, 16_000).astype(np.float32)
    np.testing.assert_array_equal(resample(samples, 16_000, 16_000), samples)
