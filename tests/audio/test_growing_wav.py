import warnings

import numpy as np
import pytest
import soundfile

from audiolm.audio import growing_wav
from audiolm.audio.blocks import ClippingWarning
from audiolm.audio.files import read
from audiolm.audio.growing_wav import grow_wav, wav_header, wav_pieces
from audiolm.errors import AudioError

BLOCKS = [np.linspace(-0.5, 0.5, n, dtype=np.float32) for n in (1280, 1, 7999)]


def test_the_header_is_the_one_that_libsndfile_writes(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1234, np.int16), 16_000, "PCM_16")
    assert wav_header(16_000, 1234) == (tmp_path / "a.wav").read_bytes()[:44]


@pytest.mark.parametrize("count", [1, 3])
def test_what_went_through_a_pipe_can_be_read(tmp_path, count):
    path = tmp_path / "a.wav"
    pieces = list(wav_pieces(BLOCKS[:count], 16_000))
    assert len(pieces) == count
    path.write_bytes(b"".join(pieces))
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16_000
    assert np.allclose(samples, np.concatenate(BLOCKS[:count]), atol=1 / 65_000)
    assert np.array_equal(read(path).samples, samples)


def test_a_growing_file_is_whole_at_any_moment(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"an older file")

    def blocks():
        assert path.read_bytes() == b"an older file"
        for number, block in enumerate(BLOCKS, start=1):
            yield block
            so_far = np.concatenate(BLOCKS[:number])
            assert np.allclose(read(path).samples, so_far, atol=1 / 65_000)

    assert grow_wav(path, blocks(), 16_000) == sum(len(block) for block in BLOCKS)
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, AudioError("no more")])
def test_however_it_ends_what_came_is_kept(tmp_path, error):
    def blocks():
        yield from BLOCKS[:2]
        raise error

    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        grow_wav(tmp_path / "a.wav", blocks(), 16_000)
    assert len(read(tmp_path / "a.wav").samples) == 1281


def test_an_older_file_outlives_a_stream_that_never_began(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"an older file")

    def blocks():
        raise AudioError("nothing came")
        yield

    with pytest.raises(AudioError, match="nothing came"):
        grow_wav(path, blocks(), 16_000)
    with pytest.raises(AudioError, match="there are no samples"):
        grow_wav(path, [], 16_000)
    assert path.read_bytes() == b"an older file"


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(AudioError, match=r"a\.wav: cannot be written \(No such file"):
        grow_wav(tmp_path / "none" / "a.wav", BLOCKS, 16_000)


def test_a_disk_that_is_full_keeps_what_came(tmp_path, monkeypatch):
    def full(file, data):
        file.write(data[:101])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(growing_wav, "_write_all", full)
    with pytest.raises(AudioError, match=r"a\.wav: cannot be written on \(No space"):
        grow_wav(tmp_path / "a.wav", [BLOCKS[0], BLOCKS[2]], 16_000)
    assert len(read(tmp_path / "a.wav").samples) == len(BLOCKS[0]) + 50


def test_clipping_is_told_at_the_end(tmp_path):
    with pytest.warns(ClippingWarning, match="2 samples above full scale"):
        grow_wav(tmp_path / "a.wav", [np.array([0.0, 2.0, -3.0], np.float32)], 16_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grow_wav(tmp_path / "a.wav", BLOCKS, 16_000)


def test_a_file_beyond_what_a_header_can_count_states_the_most():
    assert wav_header(16_000, 1 << 32) == wav_header(16_000, None)
