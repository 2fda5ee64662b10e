import numpy as np
import pytest

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.errors import AudioError


def ramp(length, sample_rate=8000):
    return Audio(np.linspace(-0.5, 0.5, length, dtype=np.float32), sample_rate)


def test_seconds():
    assert ramp(12_000).seconds == 1.5


def test_first_and_last_take_both_ends():
    audio = ramp(8000)
    np.testing.assert_array_equal(audio.first(0.25).samples, audio.samples[:2000])
    np.testing.assert_array_equal(audio.last(0.25).samples, audio.samples[6000:])


def test_first_and_last_of_nothing_and_of_too_much():
    audio = ramp(800)
    assert len(audio.first(0).samples) == len(audio.last(0).samples) == 0
    assert len(audio.first(9).samples) == len(audio.last(9).samples) == 800
    assert len(audio.last(float("inf")).samples) == 800


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_a_length_that_cannot_be(seconds):
    with pytest.raises(AudioError, match="seconds: need a length of 0 or more"):
        ramp(800).first(seconds)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(4), "float32, got float64; convert with np.asarray"),
        (np.zeros(4, dtype=np.int16), "float32, got int16"),
        (np.zeros((1, 4), dtype=np.float32), r"got shape \(1, 4\); mix the channels"),
        (np.array([0, np.nan], dtype=np.float32), "NaN or infinite"),
        (np.array([0, np.inf], dtype=np.float32), "NaN or infinite"),
    ],
)
def test_samples_that_are_refused(samples, message):
    with pytest.raises(AudioError, match=message):
        Audio(samples, 16_000)


@pytest.mark.parametrize("sample_rate", [0, -16_000])
def test_rates_that_are_refused(sample_rate):
    with pytest.raises(AudioError, match="sample_rate: need a whole number"):
        Audio(np.zeros(4, dtype=np.float32), sample_rate)


def test_audio_cannot_be_changed():
    with pytest.raises(AttributeError):
        ramp(8).sample_rate = 16_000


def test_resampled_keeps_the_length_in_seconds(speech_like):
    audio = Audio(speech_like(0.5, sample_rate=44_100), 44_100).resampled(16_000)
    assert audio.sample_rate == 16_000
    assert audio.seconds == pytest.approx(0.5, abs=1 / 16_000)


def test_write_can_be_read_back(tmp_path, speech_like):
    audio = Audio(speech_like(0.3), 16_000)
    audio.write(tmp_path / "out.flac")
    again = read(tmp_path / "out.flac")
    assert again.sample_rate == 16_000
    np.testing.assert_allclose(again.samples, audio.samples, atol=0.51 / 32768)
