import os
import struct
import warnings

import numpy as np
import pytest
import soundfile

from audiolm.atomic import replacing
from audiolm.audio import blocks
from audiolm.audio.decoding import Decoder
from audiolm.audio.files import (
    ClippingWarning,
    SilentAudioWarning,
    from_int16,
    info,
    read,
    read_end,
    read_excerpt,
    to_int16,
    write,
)
from audiolm.audio.waveform import Audio
from audiolm.errors import AudioError

# name, libsndfile's format and subtype, largest error that coding may cause
FORMATS = [
    ("pcm16.wav", "WAV", "PCM_16", 4e-5),
    ("pcm24.wav", "WAV", "PCM_24", 1e-6),
    ("float.wav", "WAV", "FLOAT", 0.0),
    ("wavex.wav", "WAVEX", "PCM_16", 4e-5),
    ("long.rf64", "RF64", "PCM_16", 4e-5),
    ("pcm16.flac", "FLAC", "PCM_16", 4e-5),
    ("pcm24.flac", "FLAC", "PCM_24", 1e-6),
    ("vorbis.ogg", "OGG", "VORBIS", 0.2),
    ("opus.opus", "OGG", "OPUS", 0.2),
    ("layer3.mp3", "MP3", "MPEG_LAYER_III", 0.2),
    ("pcm16.aiff", "AIFF", "PCM_16", 4e-5),
]
NAMES = [row[0] for row in FORMATS]


@pytest.fixture
def written(tmp_path, speech_like):
    def make(name, seconds=1.0, sample_rate=16_000):
        kind, subtype = next(row[1:3] for row in FORMATS if row[0] == name)
        samples = speech_like(seconds, sample_rate=sample_rate)
        soundfile.write(tmp_path / name, samples, sample_rate, format=kind, subtype=subtype)
        return tmp_path / name, samples

    return make


@pytest.mark.parametrize(("name", "kind", "subtype", "error"), FORMATS)
def test_every_format_is_read(written, name, kind, subtype, error):
    path, samples = written(name)
    audio = read(path)
    assert audio.sample_rate == 16_000
    assert audio.samples.dtype == np.float32
    assert len(audio.samples) == pytest.approx(len(samples), abs=0 if error < 0.1 else 2400)
    shared = min(len(samples), len(audio.samples))
    np.testing.assert_allclose(audio.samples[:shared], samples[:shared], atol=error)
    assert np.corrcoef(audio.samples[:shared], samples[:shared])[0, 1] > 0.95
    assert info(path).length == len(audio.samples)
    assert info(path).seconds == audio.seconds


@pytest.mark.parametrize("sample_rate", [8000, 11_025, 44_100, 48_000, 192_000])
def test_every_rate_is_read_and_resampled(tmp_path, speech_like, sample_rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(0.5, sample_rate=sample_rate), sample_rate)
    assert read(path).sample_rate == sample_rate
    audio = read(path, sample_rate=16_000)
    assert (audio.sample_rate, len(audio.samples)) == (16_000, pytest.approx(8000, abs=1))


def test_channels_are_averaged(tmp_path, speech_like):
    left, right = speech_like(0.2, seed=1), speech_like(0.2, seed=2)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    audio = read(tmp_path / "a.wav")
    np.testing.assert_allclose(audio.samples, (left + right) / 2, atol=1e-7)
    assert info(tmp_path / "a.wav").channels == 2


# Excerpts


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("start", "length"), [(0, 500), (7001, 4000), (15_000, 9000)])
def test_an_excerpt_is_a_slice_of_the_whole(written, name, start, length):
    path, _ = written(name)
    whole = read(path).samples
    excerpt = read_excerpt(path, start, length).samples
    # Opus and MP3 decoders remember what was before; the trace fades quickly.
    lossless = name.endswith((".wav", ".flac", ".aiff", ".rf64"))
    np.testing.assert_allclose(excerpt, whole[start : start + length], atol=0 if lossless else 5e-3)


@pytest.mark.parametrize("sample_rate", [8000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("start", [0, 1, 4001, 12_345])
def test_an_excerpt_is_a_slice_of_the_whole_resampled(tmp_path, speech_like, sample_rate, start):
    path = tmp_path / "a.flac"
    soundfile.write(path, speech_like(1.0, sample_rate=sample_rate), sample_rate)
    whole = read(path, 16_000).samples
    excerpt = read_excerpt(path, start, 3000, 16_000)
    assert excerpt.sample_rate == 16_000
    assert len(excerpt.samples) == 3000
    np.testing.assert_allclose(excerpt.samples, whole[start : start + 3000], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [0.3, 0.5, 0.95, 1.0, 7.0])
def test_the_end_is_that_of_the_whole(written, name, seconds):
    path, _ = written(name)
    whole = read(path).last(seconds).samples
    end = read_end(path, seconds).samples
    assert len(end) == len(whole)
    lossless = name.endswith((".wav", ".flac", ".aiff", ".rf64"))
    np.testing.assert_allclose(end, whole, atol=0 if lossless else 5e-3)


def test_of_a_long_recording_only_the_end_is_decoded(tmp_path, speech_like, monkeypatch):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.tile(speech_like(1.0), 30), 16_000)
    decoded = []
    decode = Decoder._read
    monkeypatch.setattr(
        Decoder, "_read", lambda self, n, done: decoded.append(n) or decode(self, n, done)
    )
    assert read_end(path, 1.0).seconds == 1.0
    assert sum(decoded) < 2 * 16_000


def test_of_a_silent_end_it_is_said(tmp_path, speech_like):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.concatenate([speech_like(1.0), np.zeros(16_000)]), 16_000)
    with pytest.warns(SilentAudioWarning, match=r"a\.flac: there is only silence"):
        read_end(path, 0.5)


@pytest.mark.parametrize("start", [-1, 16_000])
def test_an_excerpt_outside_the_recording(written, start):
    path, _ = written("pcm16.wav")
    with pytest.raises(AudioError, match=rf"no sample {start} at 16000 Hz; it lasts 1.00 s"):
        read_excerpt(path, start, 100)


# Bad input: each message names the file and says what to do


def refused(path, *parts):
    """Reading `path` fails with one line that names it and holds every one of `parts`."""
    for reader in (read, info):
        with pytest.raises(AudioError) as caught:
            reader(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message
        for part in parts:
            assert part in message
    return True


def test_missing_file(tmp_path):
    assert refused(tmp_path / "none.wav", "no such file", "check the path")


def test_folder(tmp_path):
    assert refused(tmp_path, "is a folder", "name one recording")


def test_empty_file(tmp_path):
    (tmp_path / "a.wav").touch()
    assert refused(tmp_path / "a.wav", "empty file", "again")


def test_file_below_a_file(tmp_path):
    (tmp_path / "a.wav").write_text("x")
    assert refused(tmp_path / "a.wav" / "b.wav", "cannot be opened", "check the path")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_text_with_the_name_of_a_recording(tmp_path, name):
    (tmp_path / name).write_text("these are words\n" * 100)
    assert refused(tmp_path / name, "no recording that can be read", "convert it to WAV or FLAC")


@pytest.mark.parametrize("name", ["pcm16.wav", "pcm24.wav", "float.wav", "wavex.wav", "long.rf64"])
@pytest.mark.parametrize("share", [0.99, 0.5, 0.1])
def test_cut_off_wav(written, name, share):
    path, _ = written(name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert refused(path, "is cut off", "bytes of sound are there", "copy it again")


def test_wav_cut_off_in_its_header(written):
    path, _ = written("pcm16.wav")
    path.write_bytes(path.read_bytes()[:30])
    assert refused(path, "cut off before its first sample")


@pytest.mark.parametrize("name", ["pcm16.flac", "pcm24.flac"])
@pytest.mark.parametrize("share", [0.95, 0.5])
def test_cut_off_flac(written, name, share):
    path, _ = written(name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(AudioError, match=r"cut off.*again") as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_cut_off_mp3(written):
    path, _ = written("layer3.mp3", seconds=3.0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match="cut off"):
        read(path)


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_F000])
def test_wav_from_a_pipe_does_not_know_its_size_and_is_read(written, size):
    path, _ = written("pcm16.wav")
    expected = read(path).samples
    header = bytearray(path.read_bytes())
    assert header[36:40] == b"data"
    header[40:44] = struct.pack("<I", size)
    path.write_bytes(header)
    np.testing.assert_array_equal(read(path).samples, expected)


def test_wav_whose_writer_was_killed(written):
    path, _ = written("pcm16.wav")
    header = bytearray(path.read_bytes())
    header[40:44] = bytes(4)
    path.write_bytes(header)
    assert refused(path, "never finished", "32000 follow", "repair it")


def test_chunks_around_the_sound_are_passed_over(written):
    path, _ = written("pcm16.wav")
    expected = read(path).samples
    whole = path.read_bytes()
    odd = b"LIST" + struct.pack("<I", 5) + b"notes\0"  # padded to an even length
    path.write_bytes(whole[:36] + odd + whole[36:] + odd)
    np.testing.assert_array_equal(read(path).samples, expected)


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0, dtype=np.float32), 16_000)
    assert refused(tmp_path / "a.wav", "holds no samples")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_numbers(tmp_path, value):
    samples = np.array([0.1, value, 0.2], dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: holds NaN or infinite samples; convert"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("sample_rate", [4000, 7999, 192_001, 384_000])
def test_sample_rates_out_of_range(tmp_path, sample_rate):
    soundfile.write(tmp_path / "a.wav", np.full(1000, 0.1), sample_rate)
    assert refused(tmp_path / "a.wav", f"{sample_rate} Hz", "outside 8000 to 192000 Hz", "resample")


def test_too_short_to_resample(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(1, 0.1), 48_000)
    with pytest.raises(AudioError, match="shorter than one sample at 16000 Hz"):
        read(tmp_path / "a.wav", 16_000)


def test_silence_is_allowed_with_a_warning(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1000), 16_000)
    with pytest.warns(SilentAudioWarning, match=r"a\.wav: there is only silence"):
        assert len(read(tmp_path / "a.wav").samples) == 1000


def test_one_sample_of_sound_is_no_silence(tmp_path):
    samples = np.zeros(1000)
    samples[500] = 0.1
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(tmp_path / "a.wav")


# Writing


@pytest.mark.parametrize("name", ["out.wav", "out.flac", "OUT.WAV"])
def test_write_is_16_bit_and_exact(tmp_path, name):
    samples = from_int16(np.arange(-32768, 32768, 7).astype(np.int16))
    write(tmp_path / name, Audio(samples, 22_050))
    header = soundfile.info(tmp_path / name)
    assert (header.subtype, header.samplerate, header.channels) == ("PCM_16", 22_050, 1)
    np.testing.assert_array_equal(read(tmp_path / name).samples, samples)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["åß 語.flac", os.fsdecode(b"caf\xe9.wav")])
def test_names_in_any_script(tmp_path, name):
    write(tmp_path / name, Audio(np.full(10, 0.5, dtype=np.float32), 16_000))
    np.testing.assert_array_equal(read(tmp_path / name).samples, 0.5)


def test_int16_and_back_for_every_value():
    values = np.arange(-32768, 32768).astype(np.int16)
    np.testing.assert_array_equal(to_int16(from_int16(values)), values)


def test_too_loud_is_clipped_and_said(tmp_path):
    audio = Audio(np.array([0.5, 1.5, -3.0, 1.0, -1.0], dtype=np.float32), 16_000)
    with pytest.warns(ClippingWarning, match=r"out\.wav: 2 samples above full scale \(peak 3\)"):
        write(tmp_path / "out.wav", audio)
    samples, _ = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert samples.tolist() == [16384, 32767, -32768, 32767, -32768]


def test_full_scale_is_not_too_loud(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(tmp_path / "out.wav", Audio(np.array([1.0, -1.0], dtype=np.float32), 16_000))


@pytest.mark.parametrize("name", ["out.mp3", "out.ogg", "out", "out.wav.txt"])
def test_names_that_cannot_be_written(tmp_path, name):
    with pytest.raises(AudioError, match=r"cannot write .*; end the name in \.wav or \.flac"):
        write(tmp_path / name, Audio(np.zeros(10, dtype=np.float32), 16_000))
    assert not list(tmp_path.iterdir())


def test_nothing_to_write(tmp_path):
    with pytest.raises(AudioError, match="no samples to write"):
        write(tmp_path / "out.wav", Audio(np.zeros(0, dtype=np.float32), 16_000))


def test_output_folder_that_cannot_be_written(tmp_path):
    audio = Audio(np.full(10, 0.1, dtype=np.float32), 16_000)
    with pytest.raises(AudioError, match=r"none/out\.wav: cannot be written .*choose a folder"):
        write(tmp_path / "none" / "out.wav", audio)
    (tmp_path / "file").touch()
    with pytest.raises(AudioError, match=r"file/out\.wav: cannot be written"):
        write(tmp_path / "file" / "out.wav", audio)
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(AudioError, match=r"folder\.wav: cannot be written"):
        write(tmp_path / "folder.wav", audio)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.wav"]


@pytest.mark.parametrize(("suffix", "writer"), [("wav", "to_int16"), ("flac", "write")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, suffix, writer):
    path = tmp_path / f"out.{suffix}"
    path.write_bytes(b"old")

    def fail_half_way(*_):
        assert len(list(tmp_path.iterdir())) == 2
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blocks if suffix == "wav" else soundfile.SoundFile, writer, fail_half_way)
    with pytest.raises(AudioError, match=rf"out\.{suffix}: cannot be written \(No space left"):
        write(path, Audio(np.full(10, 0.1, dtype=np.float32), 16_000))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_sees_a_file_before_it_is_whole(tmp_path):
    path = tmp_path / "a.json"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        written = temporary.stat().st_ino
    assert path.read_text() == "new"
    assert path.stat().st_ino == written  # renamed, which is atomic, and not copied


def test_an_interrupted_write_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
