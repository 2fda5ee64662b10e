"""Ogg (Vorbis, Opus, FLAC in Ogg): whether a file is one whole stream.

A stream is a row of pages, of which the first and the last carry a flag (RFC 3533). libsndfile
reads the first stream of a file, as far as it goes, and never asks for its last page.
"""

from pathlib import Path

from audiolm.errors import AudioError

_FIRST, _LAST = 2, 4
"""Flags in the sixth byte of a page."""


def check_pages(path: Path) -> None:
    """Walk along the pages of an Ogg file, from header to header.

    Raises:
        AudioError: it is cut off, holds more than one recording, or is damaged.
    """
    size = path.stat().st_size
    at, begun, flags = 0, False, 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            header = file.read(27)
            table = file.read(header[26]) if len(header) == 27 else b""
            if header[:4] != b"OggS"[: len(header)]:
                if flags & _LAST:  # what follows is a tag, or padding
                    return
                raise AudioError(f"{path}: is damaged at byte {at}; copy or convert it again")
            end = at + 27 + len(table) + sum(table)
            if len(header) < 27 or len(table) < header[26] or end > size:
                flags = 0
                break
            flags = header[5]
            if flags & _FIRST and begun:
                raise AudioError(
                    f"{path}: holds several recordings, one after the other, the second from byte "
                    f"{at}; split it or convert it to WAV or FLAC"
                )
            begun = begun or not flags & _FIRST
            at = end
    if not flags & _LAST:
        raise AudioError(f"{path}: is cut off: its last page is not there; copy it again")
