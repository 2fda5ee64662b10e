"""FLAC: how many samples there are, as its last frame says, beside what its header says.

The header (STREAMINFO, RFC 9639) states the number of samples, 0 where a pipe kept the writer from
knowing it. Every frame carries its own number and two checksums, so the end of a file tells how
long the recording is without decoding it.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path

from audiolm.audio.containers.spliced import Spliced
from audiolm.errors import AudioError

_MARK = b"fLaC\0\0\0\x22"
"""How every FLAC file begins: its name, and the header of STREAMINFO."""

_TAIL = 1 << 16
"""Bytes from the end in which the last frame is looked for, where the header names no size."""


@dataclass(frozen=True)
class _Header:
    start: int
    """Where the mark stands: tags may come before it."""
    block: int
    """The largest number of samples in a frame."""
    frame: int
    """The largest number of bytes in one, 0 when not known."""
    samples: int
    """Samples of each channel, 0 when not known."""


def check_length(path: Path, start: int) -> Spliced | None:
    """Compare the number of samples that the header states with what the last frame says.

    Args:
        path: a FLAC file.
        start: where its mark stands.

    Returns:
        The file with its number of samples filled in, where the header does not know it.

    Raises:
        AudioError: it is cut off, or its end belongs to another recording.
    """
    file = path.open("rb")
    spliced = False
    try:
        file.seek(start)
        begin = file.read(26)
        if len(begin) < 26 or begin[:8] != _MARK:
            return None  # libsndfile will say what is wrong
        header = _Header(
            start,
            int.from_bytes(begin[10:12]),
            int.from_bytes(begin[15:18]),
            int.from_bytes(begin[21:26]) & 0xF_FFFF_FFFF,
        )
        last = _last_sample(path, header)
        if header.samples:
            if last is not None and last != header.samples:
                refuse_joined(path)
                raise AudioError(_difference(path, header.samples, last))
            return None
        if last is None:
            raise AudioError(f"{path}: is cut off in its last frame; copy or convert it again")
        known = begin[21] & 0xF0 | last >> 32
        head = begin[:21] + bytes([known]) + (last & 0xFFFF_FFFF).to_bytes(4)
        file.seek(0)
        spliced = True
        return Spliced(file, file.read(start) + head, start + len(head))
    finally:
        if not spliced:
            file.close()


def refuse_joined(path: Path) -> None:
    """Look through all of a FLAC file for the beginning of another.

    Raises:
        AudioError: there is one; libsndfile would read the first alone.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_MARK, data.find(_MARK) + 1)
    if at >= 0:
        raise AudioError(
            f"{path}: holds several recordings, one after the other, the second from byte {at}; "
            "split it or convert it to WAV or FLAC"
        )


def _difference(path: Path, stated: int, last: int) -> str:
    if last < stated:
        return f"{path}: is cut off: {last} of {stated} samples are there; copy it again"
    return (
        f"{path}: its header tells of {stated} samples, but its last frame ends with sample "
        f"{last}; convert it again"
    )


def _last_sample(path: Path, header: _Header) -> int | None:
    """How many samples there are up to the end of the last frame; None if the end is no frame."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        window = max(_TAIL, header.frame) + 128
        file.seek(max(header.start + 42, size - window))
        tail = file.read()
    if tail[-128:-125] == b"TAG":  # ID3v1, which some programs append
        tail = tail[:-128]
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        end = _end_of_frame(tail[at : at + 16], header)
        if end is not None and _crc16(tail[at:]) == 0:  # the checksum of data and its checksum
            return end
    return None


def _end_of_frame(head: bytes, header: _Header) -> int | None:
    """The number of the first sample after the frame that begins so; None where none does."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    code, rate = head[2] >> 4, head[2] & 15
    ones = 8 - (head[4] ^ 0xFF).bit_length()  # leading ones tell how many bytes follow, as in UTF-8
    at = 4 + max(1, ones)
    number = head[4] & 0xFF >> (ones + 1)
    for byte in head[5:at]:
        number = number << 6 | byte & 0x3F
    more = {6: 1, 7: 2}.get(code, 0)
    sizes = {1: 192, **{n: 576 << (n - 2) for n in range(2, 6)}}
    sizes |= {n: 256 << (n - 8) for n in range(8, 16)}
    block = sizes.get(code) or int.from_bytes(head[at : at + more]) + 1
    at += more + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if code == 0 or len(head) <= at or _crc8(head[:at]) != head[at]:
        return None
    variable = head[1] & 1
    return (number if variable else number * header.block) + block


def _table(polynomial: int, bits: int) -> list[int]:
    """The checksum of every byte, most significant bit first."""
    top, mask = 1 << (bits - 1), (1 << bits) - 1
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return table


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def _crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _CRC16[value >> 8 ^ byte]
    return value
