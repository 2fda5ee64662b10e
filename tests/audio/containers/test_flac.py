"""FLAC: of unknown length, cut off, joined."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm.audio.blocks import read_blocks
from audiolm.audio.files import info, read, read_end, read_excerpt
from audiolm.errors import AudioError

CASES = Path(__file__).parents[4] / "shared" / "cases"


@pytest.fixture
def encoded(speech_like):
    def make(
        seconds: float = 3.0, seed: int = 0, coding: str = "PCM_16", rate: int = 16_000
    ) -> bytes:
        file = io.BytesIO()
        samples = speech_like(seconds, seed, sample_rate=rate)
        soundfile.write(file, samples, rate, format="FLAC", subtype=coding)
        return file.getvalue()

    return make


def unknown(whole: bytes) -> bytes:
    """The same as a pipe would have it: the number of samples is not stated."""
    return whole[:21] + bytes([whole[21] & 0xF0, 0, 0, 0, 0]) + whole[26:]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a.flac"


def refused(path: Path, *words: str, readers=(read, info)) -> None:
    for reader in readers:
        with pytest.raises(AudioError) as caught:
            reader(path)
        assert str(caught.value).startswith(f"{path}: ")
        for word in words:
            assert word in str(caught.value)


@pytest.mark.parametrize("coding", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 96_000])
@pytest.mark.parametrize("seconds", [0.3, 3.0, 11.3])
def test_of_unknown_length_all_is_read(path, encoded, coding, rate, seconds):
    whole = encoded(seconds, coding=coding, rate=rate)
    path.write_bytes(whole)
    expected = read(path).samples
    for trailer in (b"", b"TAG" + bytes(125)):
        path.write_bytes(unknown(whole) + trailer)
        assert info(path).length == len(expected) == round(seconds * rate)
        np.testing.assert_array_equal(read(path).samples, expected)
        np.testing.assert_array_equal(np.concatenate(list(read_blocks(path))), expected)
        end = read_excerpt(path, len(expected) // 2, 100).samples
        np.testing.assert_array_equal(end, expected[len(expected) // 2 :][:100])
        np.testing.assert_array_equal(read_end(path, 0.2).samples, expected[-round(0.2 * rate) :])


def test_of_unknown_length_and_cut_off_is_refused(path, encoded):
    whole = unknown(encoded())
    path.write_bytes(whole[: len(whole) * 2 // 3])
    refused(path, "is cut off in its last frame", "again")


def frames(whole: bytes) -> list[int]:
    """Where frames begin: after the metadata, at a sync code of blocks of one size."""
    found = []
    at = whole.find(b"\xff\xf8", 42)
    while at >= 0:
        if whole[at + 4] == len(found):  # frames are numbered
            found.append(at)
        at = whole.find(b"\xff\xf8", at + 1)
    return found


def test_cut_between_frames_is_known_from_the_header(path, encoded):
    whole = encoded()
    path.write_bytes(whole[: frames(whole)[5]])
    refused(path, "is cut off: 20480 of 48000 samples are there")


def test_tags_before_the_sound_are_passed_over(path, encoded):
    whole = encoded(1.0)
    path.write_bytes(b"ID3\4\0\0\0\0\1\0" + bytes(128) + whole)
    assert len(read(path).samples) == info(path).length == 16_000


def test_joined_ones_are_refused(path, encoded):
    first = encoded()
    path.write_bytes(first + encoded(1.0, seed=1))
    refused(path, "holds several recordings", f"from byte {len(first)}", "split it")
    path.write_bytes(first + first)
    refused(path, "holds several recordings", readers=(read, lambda path: list(read_blocks(path))))


def test_the_case_that_failed():
    path = CASES / "f3_flac_length_unknown.flac"
    if not path.exists():
        pytest.skip("the shared cases are not here")
    assert read(path).seconds == info(path).seconds == 3.0
