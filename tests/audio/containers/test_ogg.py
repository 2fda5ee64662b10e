"""Ogg: Vorbis and Opus that are cut off, chained, joined, followed by tags."""

import io
from pathlib import Path

import pytest
import soundfile

from audiolm.audio.files import info, read
from audiolm.errors import AudioError

CASES = Path(__file__).parents[4] / "shared" / "cases"
CODINGS = ["VORBIS", "OPUS"]


@pytest.fixture
def encoded(speech_like):
    def make(coding: str, seconds: float = 3.0, seed: int = 0) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, speech_like(seconds, seed), 16_000, format="OGG", subtype=coding)
        return file.getvalue()

    return make


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a.ogg"


def refused(path: Path, *words: str) -> None:
    for reader in (read, info):
        with pytest.raises(AudioError) as caught:
            reader(path)
        assert str(caught.value).startswith(f"{path}: ")
        for word in words:
            assert word in str(caught.value)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_whole_one_is_read_whatever_tag_follows(path, encoded, coding):
    for trailer in (b"", b"TAG" + bytes(125)):
        path.write_bytes(encoded(coding) + trailer)
        assert len(read(path).samples) == info(path).length == 48_000


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("share", [0.4, 2 / 3, 0.999])
def test_one_that_is_cut_off_is_refused(path, encoded, coding, share):
    whole = encoded(coding)
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path, "is cut off", "copy it again")


@pytest.mark.parametrize("coding", CODINGS)
def test_one_that_is_cut_between_pages_is_refused(path, encoded, coding):
    whole = encoded(coding)
    path.write_bytes(whole[: whole.rindex(b"OggS")])
    refused(path, "is cut off", "last page")


@pytest.mark.parametrize("coding", CODINGS)
def test_chained_ones_are_refused_and_the_second_named(path, encoded, coding):
    first = encoded(coding)
    for second in (first, encoded(coding, 1.0, seed=2)):
        path.write_bytes(first + second)
        refused(path, "holds several recordings", f"the second from byte {len(first)}", "split it")


def test_a_page_that_is_overwritten_is_named(path, encoded):
    whole = bytearray(encoded("VORBIS"))
    at = whole.index(b"OggS", 100)
    whole[at : at + 4] = b"\0\0\0\0"
    path.write_bytes(whole)
    refused(path, f"is damaged at byte {at}")


def test_the_case_that_failed():
    path = CASES / "f5_ogg_cut.ogg"
    if not path.exists():
        pytest.skip("the shared cases are not here")
    refused(path, "is cut off")
