"""MP3: with and without a frame that states how many there are, joined, cut off."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm.audio.blocks import read_blocks
from audiolm.audio.files import info, read, read_end
from audiolm.errors import AudioError

CASES = Path(__file__).parents[4] / "shared" / "cases"
ID3V1 = b"TAG" + bytes(125)
ID3V2 = b"ID3\4\0\0\0\0\1\0" + bytes(128)


@pytest.fixture
def encoded(speech_like):
    """MP3 as libsndfile writes it, of quiet and of loud speech, at a bit rate of its choice."""

    def make(seconds: float = 4.0, rate: int = 16_000, mode: str = "VARIABLE", seed: int = 0):
        samples = speech_like(seconds, seed, sample_rate=rate)
        samples[: len(samples) // 3] *= 0  # few bits first: a guess from the beginning is wrong
        file = io.BytesIO()
        with soundfile.SoundFile(
            file, "w", rate, 1, "MPEG_LAYER_III", format="MP3", bitrate_mode=mode
        ) as sound:
            sound.write(samples)
        return file.getvalue()

    return make


def without_info(whole: bytes) -> bytes:
    """The same without its first frame, which states how many there are."""
    tag = max(whole.find(b"Xing"), whole.find(b"Info"))
    assert 0 < tag < 100
    return whole[whole.index(b"\xff", tag + 200) :]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a.mp3"


def test_one_with_the_frame_is_as_long_as_the_recording(path, encoded):
    whole = encoded()
    for data in (whole, ID3V2 + whole, whole + ID3V1, whole + bytes(2000)):
        path.write_bytes(data)
        assert len(read(path).samples) == info(path).length == 64_000


@pytest.mark.parametrize("rate", [8000, 16_000, 32_000, 44_100])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE", "AVERAGE"])
def test_one_without_the_frame_is_read_to_its_end(path, encoded, rate, mode):
    path.write_bytes(encoded(rate=rate, mode=mode))
    expected = read(path).samples
    for before, after in ((b"", b""), (ID3V2, ID3V1)):
        path.write_bytes(before + without_info(encoded(rate=rate, mode=mode)) + after)
        samples = read(path).samples
        frame = 1152 if rate >= 32_000 else 576
        assert len(samples) == info(path).length
        assert len(samples) % frame == 0
        assert 0 < len(samples) - len(expected) < 4 * frame  # what the encoder adds on both sides
        loud = np.convolve(np.abs(samples), np.ones(400), "valid")
        assert loud[-4 * frame :].max() > 0.01 * loud.max()  # the end is there


def test_blocks_and_the_end_are_those_of_the_whole(path, encoded):
    for data in (encoded(), without_info(encoded())):
        path.write_bytes(data)
        whole = read(path).samples
        np.testing.assert_array_equal(np.concatenate(list(read_blocks(path))), whole)
        np.testing.assert_array_equal(read_end(path, 1.0).samples, whole[-16_000:])


def test_joined_ones_are_read_whole(path, encoded):
    first, second = encoded(), encoded(2.0, seed=1)
    for data in (first + second, first + ID3V1 + ID3V2 + second, first + first):
        path.write_bytes(data)
        more = 64_000 if data.endswith(first) else 32_000
        length = len(read(path).samples)
        assert length == info(path).length == pytest.approx(64_000 + more, abs=6000)
        assert length > 64_000 + more


def test_joined_ones_of_two_rates_are_refused(path, encoded):
    path.write_bytes(encoded() + encoded(rate=44_100))
    for reader in (read, info):
        with pytest.raises(AudioError, match=r"a\.mp3: its sample rate or channels change at byte"):
            reader(path)


@pytest.mark.parametrize("share", [0.4, 0.8, 0.99])
def test_one_that_is_cut_off_is_refused(path, encoded, share):
    whole = encoded()
    path.write_bytes(whole[: int(share * len(whole))])
    for reader in (read, info):
        with pytest.raises(AudioError, match=r"a\.mp3: is cut off: \d+ of \d+ frames are there"):
            reader(path)


def test_the_case_that_failed():
    path = CASES / "f2_mp3_vbr_no_info_frame.mp3"
    if not path.exists():
        pytest.skip("the shared cases are not here")
    assert info(path).length == len(read(path).samples) == 461 * 1152
