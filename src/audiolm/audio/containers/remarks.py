"""What a decoding library writes on stderr by itself is kept from there.

libmpg123 remarks on every damaged byte of an MP3, in lines of its own that name no file. What a
reader has to know of a damaged file is said once, by the error or warning that names it.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STDERR = 2
"""The file descriptor that C libraries write to."""

_lock = threading.Lock()
_silencers = 0
_aside: int | None = None


@contextmanager
def without_remarks() -> Iterator[None]:
    """Nothing written to file descriptor 2 is seen meanwhile, by whatever thread of the process.

    Several threads may be inside at once: the last one to leave brings stderr back. Where there is
    no stderr, nothing is done.
    """
    global _silencers, _aside
    with _lock:
        _silencers += 1
        if _silencers == 1:
            with suppress(OSError):  # a process without stderr
                _aside = _put_aside()
    try:
        yield
    finally:
        with _lock:
            _silencers -= 1
            if _silencers == 0 and _aside is not None:
                os.dup2(_aside, STDERR)
                os.close(_aside)
                _aside = None


def _put_aside() -> int:
    """A descriptor of the stderr that was; from now on what is written there goes nowhere."""
    aside = os.dup(STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    os.close(nowhere)
    return aside
