"""Headers that state more or less sound than there is: WAV, RF64, W64, AIFF, CAF, AU."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm.audio.files import info, read
from audiolm.errors import AudioError

CASES = Path(__file__).parents[4] / "shared" / "cases"
FORMATS = [
    *(("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAVEX", "PCM_16")),
    *(("RF64", "PCM_16"), ("W64", "PCM_16"), ("W64", "FLOAT"), ("AIFF", "PCM_16")),
    *(("AIFF", "FLOAT"), ("CAF", "PCM_16"), ("AU", "PCM_16"), ("WAV", "GSM610")),
]
CODED = [("WAV", "MS_ADPCM"), ("WAV", "IMA_ADPCM"), ("CAF", "ALAC_16"), ("AU", "G721_32")]


def encoded(samples: np.ndarray, form: str, coding: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format=form, subtype=coding)
    return file.getvalue()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a.bin"


def refused(path: Path, *words: str) -> None:
    for reader in (read, info):
        with pytest.raises(AudioError) as caught:
            reader(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message
        for word in words:
            assert word in message


@pytest.mark.parametrize(("form", "coding"), FORMATS + CODED)
def test_a_whole_file_is_as_long_as_it_was(path, speech_like, form, coding):
    path.write_bytes(encoded(speech_like(1.0), form, coding))
    assert info(path).length == len(read(path).samples) == pytest.approx(16_000, abs=500)


@pytest.mark.parametrize(("form", "coding"), FORMATS + CODED)
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_file_cut_off_is_refused(path, speech_like, form, coding, share):
    whole = encoded(speech_like(1.0), form, coding)
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path, "is cut off", "bytes of sound are there")


@pytest.mark.parametrize(("form", "coding"), FORMATS + CODED)
def test_two_files_joined_are_refused(path, speech_like, form, coding):
    whole = encoded(speech_like(1.0), form, coding)
    path.write_bytes(whole + whole)
    refused(path, "header tells of", "more follow")


def shorter_header(whole: bytes, form: str, third: int) -> bytes:
    """A file whose header tells of `third` bytes of sound, as one of over 4 GB does."""
    changed = bytearray(whole)
    at = max(whole.find(b"SSND"), whole.find(b"data")) + 4
    if form == "RF64":
        at, size = whole.index(b"ds64") + 16, struct.pack("<Q", third)
    elif form == "W64":
        at, size = at + 12, struct.pack("<Q", third + 24)
    elif form == "AU":
        at, size = 8, struct.pack(">I", third)
    else:
        size = {
            "AIFF": struct.pack(">I", third + 8),
            "CAF": struct.pack(">q", third + 4),
        }.get(form, struct.pack("<I", third))
    changed[at : at + len(size)] = size
    return bytes(changed)


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU"])
def test_a_header_that_tells_less_is_refused_and_the_difference_named(path, speech_like, form):
    whole = encoded(speech_like(1.0), form, "PCM_16")
    path.write_bytes(shorter_header(whole, form, 10_000))
    refused(path, "its header tells of 10000 bytes", "22000 more follow", "repair it")


def test_aiff_states_its_samples_twice_and_the_bytes_count(path, speech_like):
    whole = bytearray(encoded(speech_like(1.0), "AIFF", "PCM_16"))
    at = whole.index(b"COMM") + 10
    whole[at : at + 4] = struct.pack(">I", 5000)
    path.write_bytes(whole)
    assert len(read(path).samples) == info(path).length == 16_000


@pytest.mark.parametrize("form", ["WAV", "W64", "RF64", "AIFF", "CAF", "AU"])
def test_padding_after_the_sound_is_not_read(path, speech_like, form):
    path.write_bytes(encoded(speech_like(1.0), form, "PCM_16") + bytes(512))
    assert len(read(path).samples) == info(path).length == 16_000


NOTE = struct.pack("<4sI", b"LIST", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0"


@pytest.mark.parametrize(
    "trailer",
    [
        NOTE,
        NOTE + b"id3 " + struct.pack("<I", 3) + b"abc",  # its pad byte was forgotten
        b"LIST" + struct.pack("<I", 5) + b"notes\0" + NOTE,
        b"TAG" + bytes(125),
        bytes(4096),
        b"\n",
    ],
)
@pytest.mark.parametrize("length", [8000, 8001])
def test_what_follows_the_sound_of_a_wav_is_no_sound(path, length, trailer):
    sound = bytes(range(1, 250)) * 33
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + length, b"WAVE", b"fmt ", 16, 1, 1,
                         8000, 8000, 1, 8, b"data", length)  # fmt: skip
    for pad in (b"\0" * (length % 2), b""):  # some programs forget to pad
        path.write_bytes(header + sound[:length] + pad + trailer)
        assert len(read(path).samples) == info(path).length == length


def test_over_four_gigabytes(path):
    """A WAV of 4.3 GB (a sparse file): its size modulo 2^32 is what the header says."""
    size = 2**32 + 32_000
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", (36 + size) % 2**32, b"WAVE", b"fmt ", 16,
                         1, 1, 16_000, 32_000, 2, 16, b"data", size % 2**32)  # fmt: skip
    with path.open("wb") as file:
        file.write(header + b"\1\2" * 16_000)
        file.truncate(len(header) + size)
    refused(path, "tells of 32000 bytes of sound", f"{2**32} more follow", "4 GB")


def test_the_case_that_failed():
    path = CASES / "f1_wav_header_tells_less.wav"
    if not path.exists():
        pytest.skip("the shared cases are not here")
    refused(path, "32000 bytes of sound", "64000 more follow")
