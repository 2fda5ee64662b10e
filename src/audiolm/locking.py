"""One process at a time: writers of one folder wait for each other, or are told who is at work."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]


class HeldError(Exception):
    """Somebody else has the lock; the message is the number of their process, or "?"."""


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock that lies at `path` meanwhile, and keep others out.

    The system lets go of the lock when a process ends, however it does; a file that is left behind
    is of no meaning. Where there is no `fcntl` (Windows), or the file system has no locks, nobody
    is kept out.

    Args:
        path: of a file that is made, and taken away again.
        wait: until nobody else holds it.

    Raises:
        HeldError: somebody else holds it, and it is not to be waited for.
        OSError: the folder is not there, or cannot be written.
    """
    if fcntl is None:
        yield
        return
    descriptor = _acquired(path, wait)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        if _is_still(path, descriptor):  # a folder may have been put in the place of its own
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquired(path: Path, wait: bool) -> int:
    """An open file with the lock on it, and the one that lies at `path` now."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            raise HeldError(holder or "?") from None
        except OSError:
            pass  # a file system that knows no locks: better without than not at all
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # whoever had it took the file away: the next one is to be locked


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))
