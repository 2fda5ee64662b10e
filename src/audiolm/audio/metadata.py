"""What a file's container says of its sound: WAV LIST INFO and bext, FLAC and Ogg comments."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from audiolm.audio.decoding import recording
from audiolm.audio.origin import Origin

_BEXT_FIELDS = {"description": 256, "originator": 32, "originator_reference": 32}
"""Its first fields, and the bytes of each."""
_BEXT_FIXED = 602
"""Bytes of bext before the coding history."""


@dataclass(frozen=True)
class Metadata:
    """What a container says."""

    tags: Mapping[str, str]
    """Texts by name: title, software, comment, date, …; those of bext begin with `bext.`."""
    origin: Origin | None
    """Where this package says that it made the sound, and how; None where nothing says so."""


def read_metadata(path: str | PathLike[str]) -> Metadata:
    """Texts in the container of a recording.

    Raises:
        AudioError: as `audiolm.audio.files.info`.
    """
    path = Path(path)
    with recording(path) as (file, _):
        tags = {name: text for name, text in file.copy_metadata().items() if text}
    with path.open("rb") as raw:
        if raw.read(12)[8:] == b"WAVE":
            tags |= _bext(path)
    return Metadata(tags, Origin.of_comment(tags.get("comment", "")))


def _bext(path: Path) -> dict[str, str]:
    """The texts of a WAV's bext chunk, where it has one."""
    with path.open("rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name != b"bext":
                file.seek(size + size % 2, 1)
                continue
            content = file.read(min(size, 1 << 20))
            texts, at = {}, 0
            for field, length in _BEXT_FIELDS.items():
                texts[f"bext.{field}"] = _text(content[at : at + length])
                at += length
            texts["bext.coding_history"] = _text(content[_BEXT_FIXED:])
            return {name: text for name, text in texts.items() if text}
    return {}


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("ascii", "replace").strip()
