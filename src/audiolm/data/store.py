"""Where training gets its samples from: crops of any recording, at 16 kHz, from any second.

`pack` decodes a corpus once into one memory-mapped file of int16, from which a crop costs a page
fault, and which fits a GPU as a whole where there is room (an hour is 115 MB). `DirectStore` gives
the same crops from the files themselves, for corpora that are too large to pack; `check` decodes
them once as well, keeps no samples, and leaves out the files that would stop a training later.

Both go on where they were stopped, and only a complete pack is ever seen: decoded chunks lie in a
folder `building-...` or `checking-...` that names the recordings it is for, and the index is what
is written last. How long a recording is, is what was decoded of it; what its header says decides
nothing here. A hash of the samples tells recordings that changed, and those that are twice there.

Threads do it: libsndfile and soxr let go of Python's lock, so two threads take half the time.
"""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, TypeVar

import numpy as np

from audiolm.atomic import replacing
from audiolm.audio.files import read, to_int16
from audiolm.data.corpus import Recording
from audiolm.data.names import printable
from audiolm.data.tars import on_disk
from audiolm.data.waveforms import (
    FORMAT_VERSION,
    DirectStore,
    Waveforms,
    WaveformStore,
    files_state,
    read_index,
    skipped_files,
)
from audiolm.errors import AudioError, CorpusError
from audiolm.locking import locked
from audiolm.shapes import SAMPLE_RATE

__all__ = ["DirectStore", "WaveformStore", "Waveforms", "check", "pack"]

CHUNK = 32
"""Recordings that are decoded together; what is lost when packing is stopped, per thread."""


def pack(
    recordings: Sequence[Recording],
    folder: str | os.PathLike[str],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> WaveformStore:
    """Decode `recordings` into `folder`, or open what is there where it is of these recordings.

    May be called by many processes at once: one packs and the others wait for it.

    Args:
        recordings: what to pack; files that cannot be read are left out and listed in `skipped`.
        folder: where to keep the pack; an earlier one of other recordings is replaced.
        threads: decoders at a time; one per core when None.
        progress: called with the number of recordings done and of all.

    Raises:
        CorpusError: if none of the recordings can be read or the folder cannot be written to.
    """
    folder, state = Path(folder), files_state(recordings)

    def opened() -> WaveformStore:
        return WaveformStore(folder, recordings, state)

    return _opened_or_decoded(opened, recordings, state, folder, "building", threads, progress)


def check(
    recordings: Sequence[Recording],
    folder: str | os.PathLike[str],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DirectStore:
    """Decode `recordings` once to find those that cannot be, unless `folder` knows it already.

    Takes as long as `pack` does and no room. May be called by many processes at once.

    Args:
        recordings: what to check; files that cannot be decoded are left out and in `skipped`.
        folder: where to write down which; no samples are stored there.
        threads: decoders at a time; one per core when None.
        progress: called with the number of recordings done and of all.

    Raises:
        CorpusError: if none of the recordings can be read or the folder cannot be written to.
    """
    folder, state = Path(folder), files_state(recordings)

    def opened() -> DirectStore:
        index = read_index(folder, state)
        kept = [recordings[i] for i in index["kept"]]
        return DirectStore(kept, skipped_files(index), index["lengths"], index["contents"])

    return _opened_or_decoded(opened, recordings, state, folder, "checking", threads, progress)


Store = TypeVar("Store", WaveformStore, DirectStore)


def _opened_or_decoded(
    opened: Callable[[], Store],
    recordings: Sequence[Recording],
    state: str,
    folder: Path,
    doing: Literal["building", "checking"],
    threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> Store:
    """What is in `folder` already, or is after one process has decoded the recordings."""
    with suppress(CorpusError):
        return opened()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "lock"):
            with suppress(CorpusError):  # another process may have made it in the meantime
                return opened()
            _decode(recordings, state, folder, doing, threads or os.cpu_count() or 1, progress)
            return opened()
    except OSError as error:
        raise CorpusError(
            f"{folder}: cannot be written ({error.strerror}); choose a writable folder with room"
        ) from None


def _decode(
    recordings: Sequence[Recording],
    state: str,
    folder: Path,
    doing: Literal["building", "checking"],
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Decode all recordings, and write the index: with their samples when `building` a pack."""
    building = folder / f"{doing}-{state[:16]}"
    for other in (*folder.glob("building-*"), *folder.glob("checking-*")):
        if other != building:
            shutil.rmtree(other)
    building.mkdir(exist_ok=True)
    chunks = range(0, len(recordings), CHUNK)
    earlier = {first: _read_chunk(building, first) for first in chunks}
    result: dict[str, list[Any]] = {name: [] for name in _CHUNK_KEYS}
    pool = ThreadPoolExecutor(threads)
    with _SampleFile(building / "samples.int16", keeps=doing == "building") as samples:
        samples.end = max((chunk["end"] for chunk in earlier.values() if chunk), default=0)

        def decode(first: int) -> dict[str, Any]:
            before = earlier[first]
            if before is not None and samples.holds(before):
                return before
            return _decode_chunk(building, recordings[first : first + CHUNK], first, samples)

        try:
            for chunk in pool.map(decode, chunks):
                for name, values in result.items():
                    values += chunk[name]
                if progress is not None:
                    progress(len(result["kept"]) + len(result["skipped"]), len(recordings))
        finally:
            pool.shutdown(cancel_futures=True)
        total = samples.end
    if not result["kept"]:
        reason = result["skipped"][0][1] if result["skipped"] else "there are none"
        raise CorpusError(f"{folder}: no recording to keep; the first trouble is {reason}")

    # Index away, samples in, index in: whenever this stops, no index speaks of other samples.
    index = folder / "index.json"
    index.unlink(missing_ok=True)
    (building / "samples.int16").replace(folder / "samples.int16")
    with replacing(index) as temporary:
        head = {"format_version": FORMAT_VERSION, "fingerprint": state, "samples": total}
        temporary.write_text(json.dumps(head | result), encoding="utf-8")
    shutil.rmtree(building)


class _SampleFile:
    """The samples of a pack that is being made: many threads write, each behind all others.

    Args:
        path: the file.
        keeps: whether samples are kept at all.
    """

    def __init__(self, path: Path, keeps: bool) -> None:
        self.path = path
        self.keeps = keeps
        self.end = 0
        """Samples that are taken, from the start of the file."""
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        # Written, not mapped: a full disk is then an error and no killed process.
        self._file: BinaryIO = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.truncate(2 * self.end)
            self._file.flush()
            os.fsync(self._file.fileno())

    def put(self, samples: np.ndarray) -> int:
        """Write (T,) int16 behind all others; returns where."""
        if not self.keeps:
            return 0
        with self._lock:
            place = self.end
            self._file.seek(2 * place)
            self._file.write(samples.tobytes())
            self.end += len(samples)
        return place

    def holds(self, chunk: dict[str, Any]) -> bool:
        """Whether the samples of a chunk are there: whoever loses power may lose them, too."""
        if not self.keeps:
            return True
        for place, length, content in zip(
            chunk["offsets"], chunk["lengths"], chunk["contents"], strict=True
        ):
            with self._lock:
                self._file.seek(2 * place)
                data = self._file.read(2 * length)
            if _content(data) != content:
                return False
        return True


_CHUNK_KEYS = ("kept", "offsets", "lengths", "contents", "skipped")


def _decode_chunk(
    building: Path, chunk: Sequence[Recording], first: int, samples: _SampleFile
) -> dict[str, Any]:
    """Decode one chunk, whose first recording is number `first` of all."""
    result: dict[str, Any] = {name: [] for name in _CHUNK_KEYS}
    end = 0
    for i, recording in enumerate(chunk, start=first):
        try:
            with on_disk(recording.path) as file:
                decoded = to_int16(read(file, SAMPLE_RATE).samples)  # (T,)
        except AudioError as error:
            result["skipped"].append((printable(recording.path), printable(str(error))))
            continue
        offset = samples.put(decoded)
        end = offset + len(decoded)
        result["kept"].append(i)
        result["offsets"].append(offset)
        result["lengths"].append(len(decoded))
        result["contents"].append(_content(decoded.tobytes()))
    result["end"] = end
    with replacing(building / _chunk_name(first)) as temporary:
        temporary.write_text(json.dumps(result), encoding="utf-8")
    return result


def _chunk_name(first: int) -> str:
    return f"chunk-{first:08d}.json"


def _read_chunk(building: Path, first: int) -> dict[str, Any] | None:
    """What an earlier attempt decoded; None where it did not, or what it left is damaged."""
    try:
        chunk = json.loads((building / _chunk_name(first)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    complete = isinstance(chunk, dict) and {*_CHUNK_KEYS, "end"} <= chunk.keys()
    return chunk if complete else None


def _content(samples: bytes) -> str:
    """A hash of a recording's samples at 16 kHz."""
    return hashlib.blake2b(samples, digest_size=16).hexdigest()
