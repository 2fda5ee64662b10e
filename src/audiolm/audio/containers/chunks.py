"""WAV, RF64, W64, AIFF, CAF and AU: the bytes of sound that a header states, and those there are.

All but AU are rows of chunks, each with a name and a size, one of which holds the sound. Two lies
are common: a file cut off in the middle, whose header states more than there is, and a file whose
size did not fit the header (WAV counts in 32 bits, and 4.1 GB become 0.1), which states less.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audiolm.errors import AudioError

_STREAMED_WAV = 0x7FFF_F000
"""Programs that write WAV into a pipe cannot know its size and state one from here upwards."""

_PADDING = 1 << 16
"""Zeros after the sound, up to so many bytes, fill a sector of some disk: they are no sound."""


@dataclass(frozen=True)
class _Form:
    """How a family of files writes its chunks."""

    first: int
    """Where the first chunk begins."""
    name: int
    """Bytes of a chunk's name."""
    size: str
    """How its size is written, for `struct`."""
    sound: bytes
    """The name of the chunk with the sound."""
    lead: int = 0
    """Bytes of that chunk that come before the sound."""
    align: int = 2
    """Chunks are padded to multiples of this."""
    counts_header: bool = False
    """Whether a chunk's size counts its name and size, too."""
    others: tuple[bytes, ...] = ()
    """Names that only another recording, joined to the first, begins with."""

    @property
    def header(self) -> int:
        """Bytes of a chunk's name and size."""
        return self.name + struct.calcsize(self.size)

    def read(self, file: BinaryIO) -> tuple[bytes, int] | None:
        """The name of the chunk that begins here, and the bytes that follow its header."""
        header = file.read(self.header)
        if len(header) < self.header:
            return None
        (size,) = struct.unpack(self.size, header[self.name :])
        return header[: self.name], size - (self.header if self.counts_header else 0)

    def skip(self, file: BinaryIO, size: int) -> None:
        """Go to the chunk after one with `size` bytes."""
        file.seek(size + -size % self.align, os.SEEK_CUR)


_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_RIFF = _Form(first=12, name=4, size="<I", sound=b"data", others=(b"RIFF", b"RF64", b"data"))
_RIFX = _Form(first=12, name=4, size=">I", sound=b"data", others=(b"RIFX", b"data"))
_W64 = _Form(40, 16, "<q", _W64_DATA, 0, 8, True, (_W64_RIFF, _W64_DATA))
_AIFF = _Form(first=12, name=4, size=">I", sound=b"SSND", lead=8, others=(b"FORM", b"SSND"))
_CAF = _Form(first=8, name=4, size=">q", sound=b"data", lead=4, align=1, others=(b"caff", b"data"))


def check_sound_bytes(path: Path) -> int | None:
    """Compare what the header of a file states with what is there; other formats pass.

    Returns:
        The bytes of sound where the header states them.

    Raises:
        AudioError: the file is cut off, or holds more sound than its header tells of.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(40).ljust(40, b"\0")
        if head[:4] in (b".snd", b"dns."):
            offset, stated = struct.unpack(">II" if head[:4] == b".snd" else "<II", head[4:12])
            if stated == 0xFFFF_FFFF:
                return None
            file.seek(offset + stated)
            return _compared(path, stated, size - offset, _bytes_of_sound(file, size))
        form = _form(head)
        if form is None:
            return None
        found = _find_sound(path, file, form)
        if found is None:
            return None
        stated, unknown = found
        begin = file.tell()
        present = size - begin
        if stated <= present and (stated or not unknown):
            file.seek(begin + stated)
            more = _bytes_that_are_no_chunks(file, form, size)
        else:
            more = 0
    return _compared(path, None if unknown and stated > present else stated, present, more)


def _form(head: bytes) -> _Form | None:
    kind = head[8:12]
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and kind == b"WAVE":
        return _RIFX if head[:4] == b"RIFX" else _RIFF
    if head[:4] == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return _AIFF
    if head[:16] == _W64_RIFF:
        return _W64
    return _CAF if head[:4] == b"caff" else None


def _find_sound(path: Path, file: BinaryIO, form: _Form) -> tuple[int, bool] | None:
    """Go to the first byte of sound: the bytes stated, and whether that size may be made up."""
    file.seek(form.first)
    long_size = None  # RF64 states the size of the data in a chunk of its own
    while (chunk := form.read(file)) is not None:
        name, size = chunk
        if name == form.sound:
            file.seek(form.lead, os.SEEK_CUR)
            if form in (_RIFF, _RIFX):
                if size == 0xFFFF_FFFF and long_size is not None:
                    return long_size, False
                return size, size >= _STREAMED_WAV
            return (0x7FFF_FFFF_FFFF_FFFF, True) if size < 0 else (size - form.lead, False)
        if size < 0:
            return None  # libsndfile will say what is wrong
        if name == b"ds64":
            long_size = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
            size -= 16
        form.skip(file, size)
    raise AudioError(f"{path}: is cut off before its first sample; copy it again")


def _bytes_that_are_no_chunks(file: BinaryIO, form: _Form, size: int) -> int:
    """How many bytes follow the sound, or 0 where they are chunks, a tag or padding."""
    begin = file.tell()
    for start in {begin + -begin % form.align, begin}:  # some programs forget to pad
        file.seek(start)
        while (chunk := form.read(file)) is not None:
            name, length = chunk
            readable = form is _W64 or all(32 <= letter < 127 for letter in name)
            fits = 0 <= length <= size - file.tell()
            if not (readable and fits) or name in form.others:
                break
            form.skip(file, length)
        else:
            return 0
    file.seek(begin)
    return _bytes_of_sound(file, size)


def _bytes_of_sound(file: BinaryIO, size: int) -> int:
    """How many bytes follow, or 0 where they are a tag or padding."""
    rest = max(0, size - file.tell())
    trailer = file.read(_PADDING + 1)
    is_tag = trailer[-128:-125] == b"TAG" and not trailer[:-128].strip(b"\0")  # ID3v1
    is_padding = rest <= _PADDING and not trailer.strip(b"\0")
    return 0 if is_tag or is_padding else rest


def _compared(path: Path, stated: int | None, present: int, more: int) -> int | None:
    if stated is None:
        return None
    if stated == 0 and more > 0:
        raise AudioError(
            f"{path}: its header was never finished (0 bytes of sound, but {present} follow); "
            "repair it, for example with sox --ignore-length"
        )
    if stated > present:
        raise AudioError(
            f"{path}: is cut off: {present} of {stated} bytes of sound are there; copy it again"
        )
    if more:
        raise AudioError(
            f"{path}: its header tells of {stated} bytes of sound, but {more} more follow (files "
            "over 4 GB, or joined ones, look so); repair it, for example with sox --ignore-length"
        )
    return stated
