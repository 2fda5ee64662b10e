"""Where training gets its samples from: crops of any recording, at 16 kHz, from any second.

`pack` decodes a corpus once into one memory-mapped file of int16, from which a crop costs a page
fault, and which fits a GPU as a whole where there is room (an hour is 115 MB). `DirectStore` gives
the same crops from the files themselves, for corpora that are too large to pack; `check` decodes
them once as well, keeps no samples, and leaves out the files that would stop a training later.

Both go on where they were stopped, and only a complete pack is ever seen: decoded chunks lie in a
folder `building-...` or `checking-...` that names the recordings it is for, and the index is what
is written last.
Threads do it: libsndfile and soxr let go of Python's lock, so two threads take half the time.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from audiolm.atomic import replacing
from audiolm.audio.files import from_int16, read, read_excerpt, to_int16
from audiolm.data.corpus import Recording
from audiolm.errors import AudioError, CorpusError
from audiolm.shapes import SAMPLE_RATE

FORMAT_VERSION = 1
CHUNK = 32
"""Recordings that are decoded together; what is lost when packing is stopped, per thread."""


class Waveforms(Protocol):
    """What both stores answer to."""

    recordings: list[Recording]
    lengths: np.ndarray
    """(R,) int64: samples of each recording at 16 kHz."""
    skipped: list[tuple[Path, str]]
    """Files that are left out as they cannot be decoded, and why."""

    def __len__(self) -> int:
        """R, how many recordings there are."""

    def length(self, index: int) -> int:
        """Samples of one recording at 16 kHz."""

    def crop(self, index: int, start: int, samples: int) -> np.ndarray:
        """(samples,) float32 from `start`, zeros after the end of the recording."""


class WaveformStore:
    """A packed corpus.

    Raises:
        CorpusError: if `folder` holds no pack of just these recordings as they are on disk now.
    """

    def __init__(self, folder: Path, recordings: Sequence[Recording]) -> None:
        index = _read_index(folder / "index.json", _fingerprint(recordings))
        self.folder = folder
        self.recordings = [recordings[i] for i in index["kept"]]
        self.lengths = np.asarray(index["lengths"], dtype=np.int64)  # (R,)
        self.offsets = np.asarray(index["offsets"], dtype=np.int64)  # (R,)
        self.skipped = _skipped(index)
        self._all = recordings
        path = folder / "samples.int16"
        self._total = int(index["samples"])
        # A total of 0: the recordings were checked and not packed.
        if not self._total or not path.exists() or path.stat().st_size != 2 * self._total:
            raise CorpusError(f"{path}: is missing or cut off; delete {folder} and pack again")
        self._samples = np.memmap(path, dtype=np.int16, mode="r")  # (total,)

    def __len__(self) -> int:
        """R, how many recordings there are."""
        return len(self.recordings)

    def length(self, index: int) -> int:
        """Samples of one recording at 16 kHz."""
        return int(self.lengths[index])

    def crop(self, index: int, start: int, samples: int) -> np.ndarray:
        """(samples,) float32 from `start`, zeros after the end of the recording."""
        first = int(self.offsets[index]) + start
        there = _available(start, samples, self.length(index))
        return _padded(from_int16(self._samples[first : first + there]), samples)

    def as_tensor(self, device: torch.device | str = "cpu") -> Tensor:
        """All samples (total,) int16 on one device; recording i begins at `offsets[i]`."""
        path = str(self.folder / "samples.int16")
        samples = torch.from_file(path, shared=False, size=self._total, dtype=torch.int16)
        return samples.to(device)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, a store opens its file there instead of carrying the samples."""
        return type(self), (self.folder, self._all)


class DirectStore:
    """Crops decoded from the files of a corpus each time; nothing is stored."""

    def __init__(
        self, recordings: Sequence[Recording], skipped: Sequence[tuple[Path, str]] = ()
    ) -> None:
        self.recordings = list(recordings)
        self.skipped = list(skipped)
        seconds = np.array([recording.seconds for recording in recordings])
        # Half a sample at 192 kHz of tolerance: seconds are a whole number of samples, divided.
        self.lengths = np.floor(seconds * SAMPLE_RATE + 0.04).astype(np.int64)  # (R,)

    def __len__(self) -> int:
        """R, how many recordings there are."""
        return len(self.recordings)

    def length(self, index: int) -> int:
        """Samples of one recording at 16 kHz."""
        return int(self.lengths[index])

    def crop(self, index: int, start: int, samples: int) -> np.ndarray:
        """(samples,) float32 from `start`, zeros after the end of the recording.

        Raises:
            AudioError: if the file cannot be read any more.
        """
        there = _available(start, samples, self.length(index))
        if there == 0:
            return np.zeros(samples, dtype=np.float32)
        audio = read_excerpt(self.recordings[index].path, start, there, SAMPLE_RATE)
        return _padded(audio.samples, samples)


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
    folder = Path(folder)

    def opened() -> WaveformStore:
        return WaveformStore(folder, recordings)

    return _opened_or_decoded(opened, recordings, folder, "building", threads, progress)


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
    folder = Path(folder)

    def opened() -> DirectStore:
        index = _read_index(folder / "index.json", _fingerprint(recordings))
        return DirectStore([recordings[i] for i in index["kept"]], _skipped(index))

    return _opened_or_decoded(opened, recordings, folder, "checking", threads, progress)


Store = TypeVar("Store", WaveformStore, DirectStore)


def _opened_or_decoded(
    opened: Callable[[], Store],
    recordings: Sequence[Recording],
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
        with _locked(folder / "lock"):
            with suppress(CorpusError):  # another process may have made it in the meantime
                return opened()
            _decode(recordings, folder, doing, threads or os.cpu_count() or 1, progress)
            return opened()
    except OSError as error:
        raise CorpusError(
            f"{folder}: cannot be written ({error.strerror}); choose a writable folder with room"
        ) from None


def _decode(
    recordings: Sequence[Recording],
    folder: Path,
    doing: Literal["building", "checking"],
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Decode all recordings, and write the index: with their samples when `building` a pack."""
    fingerprint = _fingerprint(recordings)
    building = folder / f"{doing}-{fingerprint[:16]}"
    for other in (*folder.glob("building-*"), *folder.glob("checking-*")):
        if other != building:
            shutil.rmtree(other)
    building.mkdir(exist_ok=True)
    room = [int(np.ceil(r.seconds * SAMPLE_RATE)) + 1 for r in recordings]
    if doing == "checking":
        room = [0 for _ in recordings]  # they are decoded as ever, and none of it is kept
    offsets = np.cumsum([0, *room])  # (R + 1,)
    with (building / "samples.int16").open("ab") as file:
        file.truncate(2 * int(offsets[-1]))

    def decode(first: int) -> dict[str, Any]:
        chunk = range(first, min(first + CHUNK, len(recordings)))
        return _decode_chunk(building, [recordings[i] for i in chunk], first, offsets)

    kept, lengths, skipped = [], [], []
    pool = ThreadPoolExecutor(threads)
    try:
        for result in pool.map(decode, range(0, len(recordings), CHUNK)):
            kept += result["kept"]
            lengths += result["lengths"]
            skipped += result["skipped"]
            if progress is not None:
                progress(len(kept) + len(skipped), len(recordings))
    finally:
        pool.shutdown(cancel_futures=True)
    if not kept:
        reason = skipped[0][1] if skipped else "there are none"
        raise CorpusError(f"{folder}: no recording to keep; the first trouble is {reason}")

    # Index away, samples in, index in: whenever this stops, no index speaks of other samples.
    index = folder / "index.json"
    index.unlink(missing_ok=True)
    (building / "samples.int16").replace(folder / "samples.int16")
    with replacing(index) as temporary:
        content = {
            "format_version": FORMAT_VERSION,
            "fingerprint": fingerprint,
            "samples": int(offsets[-1]),
            "kept": kept,
            "offsets": [int(offsets[i]) for i in kept],
            "lengths": lengths,
            "skipped": skipped,
        }
        temporary.write_text(json.dumps(content), encoding="utf-8")
    shutil.rmtree(building)


def _decode_chunk(
    building: Path, chunk: Sequence[Recording], first: int, offsets: np.ndarray
) -> dict[str, Any]:
    """Decode one chunk to its place in the file, unless an earlier attempt has done it."""
    done = building / f"chunk-{first:08d}.json"
    if done.exists():
        earlier: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return earlier
    result: dict[str, Any] = {"kept": [], "lengths": [], "skipped": []}
    # Written, not mapped: a full disk is then an error and no killed process.
    with (building / "samples.int16").open("r+b") as file:
        for i, recording in enumerate(chunk, start=first):
            room = int(offsets[i + 1] - offsets[i])
            try:
                samples = to_int16(read(recording.path, SAMPLE_RATE).samples)[:room]
            except AudioError as error:
                result["skipped"].append((str(recording.path), str(error)))
                continue
            file.seek(2 * int(offsets[i]))
            file.write(samples.tobytes())
            result["kept"].append(i)
            result["lengths"].append(len(samples))
    with replacing(done) as temporary:
        temporary.write_text(json.dumps(result), encoding="utf-8")
    return result


def _skipped(index: dict[str, Any]) -> list[tuple[Path, str]]:
    """What an index says of the files that are left out."""
    return [(Path(path), reason) for path, reason in index["skipped"]]


def _fingerprint(recordings: Sequence[Recording]) -> str:
    """SHA-256 over ids, paths, sizes and times: another list, or files changed since, differ."""
    digest = hashlib.sha256()
    for recording in recordings:
        try:
            stat = recording.path.stat()
            state = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:
            state = "missing"
        digest.update(os.fsencode(f"{recording.id}\0{recording.path.absolute()}\0{state}\n"))
    return digest.hexdigest()


def _read_index(path: Path, fingerprint: str) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CorpusError(f"{path.parent}: holds no packed corpus; pack it first") from None
    if index.get("format_version") != FORMAT_VERSION:
        raise CorpusError(f"{path}: was written by another version; pack the corpus again")
    if index["fingerprint"] != fingerprint:
        raise CorpusError(f"{path.parent}: is a pack of other recordings; pack the corpus again")
    return index


def _available(start: int, samples: int, length: int) -> int:
    """How many of the `samples` from `start` there are in a recording of `length`."""
    if start < 0:
        raise ValueError(f"a crop cannot start at {start}, before its recording")
    return max(0, min(samples, length - start))


def _padded(samples: np.ndarray, length: int) -> np.ndarray:
    """(length,) float32: `samples` and then zeros."""
    if len(samples) == length:
        return samples
    padded = np.zeros(length, dtype=np.float32)  # (length,)
    padded[: len(samples)] = samples
    return padded


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock falls when its holder ends, however it ends."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
