"""Block by block equals all at once, at bounded memory."""

import warnings

import numpy as np
import pytest
import soundfile

from audiolm.audio import blocks
from audiolm.audio.blocks import ClippingWarning, read_blocks, write_blocks
from audiolm.audio.files import SilentAudioWarning, read
from audiolm.errors import AudioError


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("audiolm.audio.decoding.BLOCK", 3001)


@pytest.mark.parametrize("to_rate", [None, 16_000])
@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 44_100, 48_000, 192_000])
def test_blocks_are_the_whole(tmp_path, speech_like, small_blocks, rate, to_rate):
    path = tmp_path / "a.flac"
    samples = speech_like(1.3, sample_rate=rate)
    soundfile.write(path, np.stack([samples, samples / 2], axis=1), rate)
    expected = read(path, to_rate).samples
    pieces = list(read_blocks(path, to_rate))
    assert len(pieces) > 2 and all(len(piece) and piece.dtype == np.float32 for piece in pieces)
    together = np.concatenate(pieces)
    assert len(together) == len(expected)
    np.testing.assert_allclose(together, expected, atol=0 if to_rate in (None, rate) else 1e-6)


@pytest.mark.parametrize("length", [1, 2, 5, 3000, 3001, 3002])
def test_short_ones(tmp_path, speech_like, small_blocks, length):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.3 * np.ones(length), 11_025)
    expected = read(path, 16_000).samples
    np.testing.assert_allclose(np.concatenate(list(read_blocks(path, 16_000))), expected, atol=1e-6)


def test_what_is_wrong_with_it_is_said_as_by_read(tmp_path, small_blocks):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(9000), 16_000)
    with pytest.warns(SilentAudioWarning, match=r"a\.wav: there is only silence"):
        list(read_blocks(path))
    samples = np.full(9000, 0.1, dtype=np.float32)
    samples[8000] = np.nan
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: holds NaN"):
        list(read_blocks(path))
    soundfile.write(path, np.full(1, 0.1), 48_000)
    with pytest.raises(AudioError, match="shorter than one sample at 16000 Hz"):
        list(read_blocks(path, 16_000))
    with pytest.raises(AudioError, match="no such file"):
        next(read_blocks(tmp_path / "none.wav"))


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_written_in_blocks_is_written_at_once(tmp_path, speech_like, name):
    samples = speech_like(1.0)
    assert write_blocks(tmp_path / name, np.array_split(samples, 7), 16_000) == len(samples)
    np.testing.assert_allclose(read(tmp_path / name).samples, samples, atol=0.51 / 32768)


def test_clipping_is_counted_over_all_blocks(tmp_path):
    pieces = [np.float32([0.5, 2.0]), np.float32([]), np.float32([-3.0, 1.0])]
    with pytest.warns(ClippingWarning, match=r"2 samples above full scale \(peak 3\)"):
        write_blocks(tmp_path / "a.wav", pieces, 16_000)


def test_an_error_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"old")

    def pieces():
        yield np.zeros(1000, np.float32)
        raise AudioError("b.flac: is cut off")

    with pytest.raises(AudioError, match=r"b\.flac: is cut off"):
        write_blocks(tmp_path / "a.wav", pieces(), 16_000)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_more_than_a_wav_can_count_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "_WAV_BYTES", 1000)
    with warnings.catch_warnings(), pytest.raises(AudioError, match=r"too long for WAV; name it"):
        write_blocks(tmp_path / "a.wav", [np.zeros(400, np.float32)] * 2, 16_000)
    assert not list(tmp_path.iterdir())
    assert write_blocks(tmp_path / "a.flac", [np.zeros(400, np.float32)] * 2, 16_000) == 800
