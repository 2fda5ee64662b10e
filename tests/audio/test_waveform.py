import math
import warnings

import numpy as np
import pytest
import torch

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio, ScaleWarning
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
        (np.zeros(4, dtype=np.int16), r"float32, got int16; divide .* / 32768$"),
        (np.zeros(4, dtype=np.int32), r"float32, got int32; divide .* / 2147483648$"),
        (np.zeros((1, 4), dtype=np.float32), r"got shape \(1, 4\); mix the channels"),
        (np.array([0, np.nan], dtype=np.float32), "NaN or infinite"),
        (np.array([0, np.inf], dtype=np.float32), "NaN or infinite"),
    ],
)
def test_samples_that_are_refused(samples, message):
    with pytest.raises(AudioError, match=message):
        Audio(samples, 16_000)


def unchecked(samples, sample_rate) -> Audio:
    """`Audio(samples, sample_rate)` as users call it: without the tests' own check of types."""
    audio = object.__new__(Audio)
    object.__setattr__(audio, "samples", samples)
    object.__setattr__(audio, "sample_rate", sample_rate)
    check = Audio.__post_init__
    while hasattr(check, "__wrapped__"):
        check = check.__wrapped__
    check(audio)
    return audio


@pytest.mark.parametrize("samples", [[0.0, 0.1], None, "samples", torch.zeros(4), 0.5])
def test_what_is_no_array_is_refused(samples):
    with pytest.raises(AudioError, match=r"need a NumPy array of float32, got .*; convert"):
        unchecked(samples, 16_000)


@pytest.mark.parametrize(
    "sample_rate",
    [0, -16_000, 16_000.5, None, math.nan, math.inf, True, np.bool_(True), "16000", 1j, 10**12],
)
def test_rates_that_are_refused(sample_rate):
    with pytest.raises(AudioError, match="sample_rate: need a whole number"):
        unchecked(np.zeros(4, dtype=np.float32), sample_rate)


@pytest.mark.parametrize(
    "sample_rate", [16_000.0, np.int64(16_000), np.float32(16_000), np.uint16(16_000)]
)
def test_a_whole_rate_of_any_type_is_an_int(sample_rate):
    audio = unchecked(np.zeros(4, dtype=np.float32), sample_rate)
    assert type(audio.sample_rate) is int and audio.sample_rate == 16_000


def read_only(samples):
    samples = samples.copy()
    samples.flags.writeable = False
    return samples


@pytest.mark.parametrize(
    "view",
    [
        lambda samples: samples[::-1],
        lambda samples: samples[::2],
        lambda samples: samples.astype(">f4"),
        lambda samples: np.broadcast_to(samples[:1], (100,)),
        read_only,
    ],
)
def test_views_that_pytorch_cannot_take_are_copied(view):
    samples = np.linspace(-0.5, 0.5, 100, dtype=np.float32)
    audio = Audio(view(samples), 16_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(audio.samples)
    np.testing.assert_array_equal(tensor.numpy(), view(samples))


def test_an_ordinary_array_is_not_copied():
    samples = np.zeros(100, dtype=np.float32)
    assert Audio(samples, 16_000).samples is samples


def test_samples_in_the_scale_of_int16_are_said():
    samples = np.float32([0.0, 9830.2, -300.0])
    with pytest.warns(ScaleWarning, match=r"reach 9830\.2, .* 16 bits, divide them by 32768") as w:
        unchecked(samples, 16_000)
    assert len(w) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Audio(np.float32([1.5, -3.0]), 16_000)  # too loud, and no other scale


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
