"""What is odd about samples: another full scale, channels that cancel, nothing to be heard."""

import math
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm.audio.blocks import read_blocks
from audiolm.audio.files import (
    CancellingChannelsWarning,
    SilentAudioWarning,
    info,
    read,
    read_end,
    read_excerpt,
)
from audiolm.errors import AudioError

CASES = Path(__file__).parents[3] / "shared" / "cases"


def whole(path):
    return list(read_blocks(path))


def excerpt(path):
    return read_excerpt(path, 100, 15_000)


def end(path):
    return read_end(path, 0.9)


READERS = [read, whole, excerpt, end]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a.wav"


# ---- full scale ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("scale", "says"),
    [
        (300, "divide them by 32768"),
        (32_768, "numbers of 16 bits, divide them by 32768"),
        (2**23, "numbers of 24 bits, divide them by 8388608"),
        (2**31, "numbers of 32 bits, divide them by 2147483648"),
    ],
)
def test_float_samples_of_another_full_scale_are_refused(path, speech_like, reader, scale, says):
    samples = speech_like(1.0) / 0.5 * scale
    for coding in ("FLOAT", "DOUBLE"):
        soundfile.write(path, samples, 16_000, subtype=coding)
        with pytest.raises(AudioError, match=r"a\.wav: its samples reach .* full scale is 1") as e:
            reader(path)
        assert says in str(e.value)


def test_a_little_above_full_scale_is_no_other_scale(path, speech_like):
    soundfile.write(path, 5 * speech_like(1.0), 16_000, subtype="FLOAT")
    assert np.abs(read(path).samples).max() == pytest.approx(2.5)


# ---- channels ------------------------------------------------------------------------------------


def two(path, left, right, coding="PCM_16"):
    soundfile.write(path, np.stack([left, right], axis=1), 16_000, subtype=coding)


@pytest.mark.parametrize("reader", [read, whole, end])
@pytest.mark.parametrize("gain", [1.0, 0.9, 0.7])
def test_channels_that_cancel_are_said(path, speech_like, reader, gain):
    sound = speech_like(1.0)
    two(path, sound, -gain * sound)
    with pytest.warns(UserWarning) as caught:
        reader(path)
    assert caught[0].category is CancellingChannelsWarning
    assert "a.wav: its 2 channels are in opposite phase" in str(caught[0].message)


@pytest.mark.parametrize("reader", [read, whole, end])
def test_what_is_left_of_channels_that_cancel_is_silence(path, speech_like, reader):
    sound = speech_like(1.0)
    noise = np.random.default_rng(0).uniform(-1, 1, len(sound)) / 32_768  # dither
    two(path, sound + noise, -sound)
    with pytest.warns(SilentAudioWarning), pytest.warns(CancellingChannelsWarning):
        reader(path)


def test_ordinary_stereo_does_not_cancel(path, speech_like):
    sound, other = speech_like(1.0), speech_like(1.0, seed=1)
    for left, right in ((sound, sound), (sound, other), (sound, 0 * sound), (sound, -0.3 * sound)):
        two(path, left, right)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(path)


def test_one_channel_never_cancels_and_near_silence_is_silence(path):
    hum = 3e-5 * np.sin(np.arange(16_000))
    soundfile.write(path, hum, 16_000, subtype="FLOAT")
    with pytest.warns(SilentAudioWarning) as caught:
        read(path)
    assert len(caught) == 1


# ---- codings without seeking ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "coding"),
    [
        *(("WAV", "GSM610"), ("W64", "GSM610"), ("AIFF", "GSM610"), ("WAV", "G721_32")),
        *(("WAV", "NMS_ADPCM_16"), ("AU", "G721_32"), ("AU", "G723_24"), ("AU", "G723_40")),
    ],
)
def test_codings_without_seeking_are_read_from_their_beginning(path, speech_like, form, coding):
    soundfile.write(path, speech_like(3.0, sample_rate=8000), 8000, format=form, subtype=coding)
    expected = read(path).samples
    np.testing.assert_array_equal(read_end(path, 1.0).samples, expected[-8000:])
    np.testing.assert_array_equal(read_excerpt(path, 9000, 500).samples, expected[9000:9500])
    np.testing.assert_array_equal(np.concatenate(whole(path)), expected)


# ---- what is no file -----------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_empty_file_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for name in (tmp_path / "pipe.wav", Path("/dev/zero")):
        for reader in (read, info, end):
            done = []

            def attempt(reader=reader, name=name, done=done):
                with pytest.raises(AudioError, match=f"{name}: is a pipe or device; save"):
                    reader(name)
                done.append(True)

            thread = threading.Thread(target=attempt, daemon=True)
            thread.start()
            thread.join(10)
            assert done


@pytest.mark.parametrize("name", ["a\0b.wav", "a" * 300 + ".wav"])
def test_names_that_cannot_be(tmp_path, name):
    with pytest.raises(AudioError, match="check the path") as caught:
        read(tmp_path / name)
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize("rate", [0, -16_000, 16_000.5, math.nan, math.inf, True, "16000"])
def test_rates_that_cannot_be_asked_for(path, speech_like, rate):
    soundfile.write(path, speech_like(0.1), 16_000)
    unchecked = read
    while hasattr(unchecked, "__wrapped__"):  # the tests' own check of types comes first
        unchecked = unchecked.__wrapped__
    with pytest.raises(AudioError, match="sample_rate: need a whole number"):
        unchecked(path, rate)


# ---- the cases that failed -----------------------------------------------------------------------


@pytest.fixture
def case():
    def find(name: str) -> Path:
        if not (CASES / name).exists():
            pytest.skip("the shared cases are not here")
        return CASES / name

    return find


def test_f4(case):
    assert read_end(case("f4_gsm610.wav"), 1.0).seconds == 1.0


def test_f6(case):
    with pytest.raises(AudioError, match="divide them by 32768"):
        read(case("f6_float_wav_int16_scale.wav"))


def test_f7(case):
    with pytest.warns(SilentAudioWarning), pytest.warns(CancellingChannelsWarning):
        read(case("f7_antiphase.wav"))
