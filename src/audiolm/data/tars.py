"""Recordings inside tar files (webdataset, Lhotse Shar), read without unpacking them.

A member's path is that of its tar and its name below it: `corpus/000.tar/utterance.flac`. One
member at a time is copied out, for as long as it is looked at: the checks and decoders of
`audiolm.audio` want a file.
"""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from audiolm.errors import AudioError, CorpusError

TAR = ".tar"


def members(tar: Path) -> list[str]:
    """The names of the files in a tar, in their order.

    Raises:
        CorpusError: if it is no tar, or is cut off.
    """
    try:
        return list(_index(tar, tar.stat().st_mtime_ns))
    except (OSError, tarfile.TarError) as error:
        raise CorpusError(
            f"{tar}: is no tar that can be read ({error}); make it again, without compression"
        ) from None


def split(path: Path) -> tuple[Path, str] | None:
    """The tar and the member's name that a path is made of; None for any other path."""
    for parent in path.parents:
        if parent.suffix.lower() == TAR and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def file_of(path: Path) -> Path:
    """The file that lies on the disk: the tar of a member, else the path itself."""
    found = None if path.exists() else split(path)
    return path if found is None else found[0]


@contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """A recording as a file of its own, for a while: a member of a tar is copied out.

    Raises:
        AudioError: if there is no such member; errors of `audiolm.audio` name the member.
    """
    found = None if path.exists() else split(path)
    if found is None:
        yield path
        return
    tar, name = found
    with tempfile.TemporaryDirectory(prefix="audiolm-") as folder:
        file = Path(folder, PurePosixPath(name).name)
        try:
            first, size = _index(tar, tar.stat().st_mtime_ns)[name]
            with tar.open("rb") as source, file.open("wb") as copy:
                source.seek(first)
                _copy(source, copy, size)
        except (KeyError, OSError, tarfile.TarError) as error:
            reason = "there is no such member" if isinstance(error, KeyError) else str(error)
            raise AudioError(f"{path}: cannot be read ({reason}); make {tar} again") from None
        try:
            yield file
        except AudioError as error:
            raise AudioError(str(error).replace(str(file), str(path))) from None


@lru_cache(maxsize=64)
def _index(tar: Path, changed: int) -> dict[str, tuple[int, int]]:
    """Where each member's bytes begin, and how many they are; `changed` tells a new file."""
    with tarfile.open(tar, "r:") as file:
        return {one.name: (one.offset_data, one.size) for one in file if one.isfile()}


def _copy(source: BinaryIO, copy: BinaryIO, size: int) -> None:
    while size > 0:
        block = source.read(min(size, 1 << 20))
        if not block:
            raise OSError("it is cut off")
        copy.write(block)
        size -= len(block)
