"""One writer at a time: parts that several processes save into one folder are all in model.json."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]

LOCK = ".model.json.lock"
"""Lies in a model folder while somebody writes there."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until nobody else writes into a model folder, and keep others waiting meanwhile.

    The system lets go of the lock when a process ends, however it does; the file is then of no
    meaning. Where there is no `fcntl` (Windows), or the file system has no locks, nobody waits.

    Raises:
        OSError: the folder is not there, or cannot be written.
    """
    if fcntl is None:
        yield
        return
    path = folder / LOCK
    descriptor = _acquired(path)
    try:
        yield
    finally:
        if _is_still(path, descriptor):  # a folder may have been put in the place of this one
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquired(path: Path) -> int:
    """An open file with the lock on it, and the one that lies at `path` now."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with suppress(OSError):  # a file system that knows no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # whoever had it took the file away: the next one is to be locked


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))
