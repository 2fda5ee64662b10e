"""Files that are written whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`: what is written there becomes `path` at the end, or is gone.

    Nobody ever sees a half-written `path`, and an older one survives a failure. What was written is
    on the disk before it takes the name, and the name before this returns: a power cut leaves the
    old file or the new one, and never an empty one.

    Raises:
        OSError: when there is no room, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        if os.name != "nt":  # Windows opens no folders
            with suppress(OSError):  # some network disks sync no folders; the file is whole anyway
                _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until what was written to a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
