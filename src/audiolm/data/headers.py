"""How long each recording lasts, from its header, which is read once as long as the file is as is.

A corpus of a million files takes minutes to hours to open by its headers and seconds by a list of
what they said: a line for each file with its size and the time it was last written, by which a
changed file is noticed. The list is kept where the caller says, never in the corpus itself.
"""

import itertools
import json
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from audiolm._version import __version__
from audiolm.atomic import replacing
from audiolm.audio.files import info
from audiolm.data.names import printable
from audiolm.data.tars import file_of, on_disk
from audiolm.errors import AudioError, CorpusError

THREADS = 16
"""Files that are asked for at a time: the wait is for the disk, or the network behind it."""
AT_ONCE = 256
"""Files that a thread takes at a time."""

State = tuple[int, int]
"""Size in bytes, and when the file was last written, in ns."""


def measure(paths: Sequence[Path], cache: Path | None = None) -> list[float | str]:
    """The seconds that each recording lasts, or why it cannot be read.

    Args:
        paths: the files.
        cache: a file that keeps what the headers said; None for none.

    Raises:
        CorpusError: if the cache cannot be written.
    """
    known = {} if cache is None else _read(cache)
    states: dict[str, tuple[State, float]] = {}

    def measured(some: Sequence[Path]) -> list[float | str]:
        return [_measure(path, known, states) for path in some]

    parts = [paths[first : first + AT_ONCE] for first in range(0, len(paths), AT_ONCE)]
    with ThreadPoolExecutor(THREADS) as threads:
        results = list(itertools.chain.from_iterable(threads.map(measured, parts)))
    if cache is not None and states != known:
        _write(cache, states)
    return results


def _measure(
    path: Path, known: dict[str, tuple[State, float]], states: dict[str, tuple[State, float]]
) -> float | str:
    key = printable(path.absolute())
    try:
        status = file_of(path).stat()  # of a member's tar
        if not stat.S_ISREG(status.st_mode):
            return f"{path}: is no regular file; move it out of the corpus"
        state = (status.st_size, status.st_mtime_ns)
        before = known.get(key)
        if before is not None and before[0] == state:
            seconds = before[1]
        else:
            with on_disk(path) as file:
                seconds = info(file).seconds
    except AudioError as error:
        return str(error)
    except OSError as error:
        return f"{path}: cannot be opened ({error.strerror}); check the path"
    states[key] = (state, seconds)
    return seconds


def _head() -> str:
    # Another version may read more of a file than this one did, or otherwise.
    return json.dumps({"headers read by": f"audiolm {__version__}"})


def _read(cache: Path) -> dict[str, tuple[State, float]]:
    """What an earlier `_write` has left; nothing where it cannot be used."""
    try:
        with cache.open(encoding="utf-8") as file:
            if file.readline() != _head() + "\n":
                return {}
            rows = [json.loads(line) for line in file]
        return {path: ((size, time), float(seconds)) for path, size, time, seconds in rows}
    except (OSError, ValueError, TypeError):  # missing, cut off or emptied: read the headers again
        return {}


def _write(cache: Path, states: dict[str, tuple[State, float]]) -> None:
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with replacing(cache) as draft, draft.open("w", encoding="utf-8") as file:
            file.write(_head() + "\n")
            for path, ((size, time), seconds) in states.items():
                file.write(json.dumps([path, size, time, seconds]) + "\n")
    except OSError as error:
        raise CorpusError(
            f"{cache}: cannot be written ({error.strerror}); make room, or permit it"
        ) from None
