"""Recordings as samples at 16 kHz: crops of any of them, from any second.

`WaveformStore` has them decoded in one memory-mapped file, from which a crop costs a page fault and
which fits a GPU as a whole where there is room; `DirectStore` decodes them from their files each
time. Both are made by `audiolm.data.store`.
"""

import copy
import hashlib
import json
import os
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from audiolm.audio.files import from_int16, read_excerpt
from audiolm.data.corpus import Recording
from audiolm.data.names import printable
from audiolm.data.tars import file_of, on_disk
from audiolm.errors import CorpusError
from audiolm.shapes import SAMPLE_RATE

FORMAT_VERSION = 2
"""Of the index that lies beside packed samples."""


class Waveforms(Protocol):
    """What both stores answer to."""

    recordings: list[Recording]
    lengths: np.ndarray
    """(R,) int64: samples of each recording at 16 kHz."""
    skipped: list[tuple[Path, str]]
    """Files that are left out as they cannot be decoded, and why."""
    contents: list[str]
    """(R,) a hash of each recording's samples, before any change of speed."""

    def __len__(self) -> int:
        """R, how many recordings there are."""

    def length(self, index: int) -> int:
        """Samples of one recording at 16 kHz."""

    def crop(self, index: int, start: int, samples: int) -> np.ndarray:
        """(samples,) float32 from `start`, zeros after the end of the recording."""


def fingerprint(store: Waveforms) -> str:
    """SHA-256 over what is in a store: ids, lengths, speeds, and the samples by their hashes.

    The same for the same recordings, wherever they lie and however they are stored.
    """
    digest = hashlib.sha256()
    for recording, length, content in zip(
        store.recordings, store.lengths.tolist(), store.contents, strict=True
    ):
        line = f"{printable(recording.id)}\0{length}\0{recording.speed!r}\0{content}\n"
        digest.update(line.encode())
    return digest.hexdigest()


class WaveformStore:
    """A packed corpus.

    Args:
        folder: where the pack is.
        recordings: what it is a pack of.
        state: what `files_state` says of them; asked for when None.

    Raises:
        CorpusError: if `folder` holds no pack of just these recordings as they are on disk now.
    """

    def __init__(
        self, folder: Path, recordings: Sequence[Recording], state: str | None = None
    ) -> None:
        index = read_index(folder, state or files_state(recordings))
        self.folder = folder
        self.recordings = [recordings[i] for i in index["kept"]]
        self.lengths = np.asarray(index["lengths"], dtype=np.int64)  # (R,)
        self.offsets = np.asarray(index["offsets"], dtype=np.int64)  # (R,)
        self.contents: list[str] = index["contents"]
        self.skipped = skipped_files(index)
        path = folder / "samples.int16"
        self._total = int(index["samples"])
        # A total of 0: the recordings were checked and not packed.
        if not self._total or not path.exists() or path.stat().st_size != 2 * self._total:
            raise CorpusError(f"{path}: is missing or cut off; delete {folder} and pack again")
        self._samples = np.memmap(path, dtype=np.int16, mode="r")  # (total,)

    @property
    def bytes(self) -> int:
        """What all samples take, on disk or in memory."""
        return 2 * self._total

    def without(self, indices: Container[int]) -> "WaveformStore":
        """The same store without some of its recordings."""
        other = copy.copy(self)
        kept = _without(other, self, indices)
        other.offsets = self.offsets[kept]
        return other

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

    def __getstate__(self) -> dict[str, Any]:
        """Sent to another process, a store opens its file there instead of carrying the samples."""
        return {key: value for key, value in self.__dict__.items() if key != "_samples"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._samples = np.memmap(self.folder / "samples.int16", dtype=np.int16, mode="r")


class DirectStore:
    """Crops decoded from the files of a corpus each time; nothing is stored.

    Args:
        recordings: R recordings.
        skipped: what has been left out, and why.
        lengths: (R,) samples of each at 16 kHz; what the headers say when None.
        contents: (R,) a hash of the samples of each; unknown when None.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        skipped: Sequence[tuple[Path, str]] = (),
        lengths: Sequence[int] | None = None,
        contents: Sequence[str] | None = None,
    ) -> None:
        self.recordings = list(recordings)
        self.skipped = list(skipped)
        self.contents = [""] * len(recordings) if contents is None else list(contents)
        if lengths is None:
            seconds = np.array([recording.seconds for recording in recordings])
            # Half a sample at 192 kHz of tolerance: seconds are a whole number of samples, divided.
            self.lengths = np.floor(seconds * SAMPLE_RATE + 0.04).astype(np.int64)  # (R,)
        else:
            self.lengths = np.asarray(lengths, dtype=np.int64)  # (R,)

    def without(self, indices: Container[int]) -> "DirectStore":
        """The same store without some of its recordings."""
        other = copy.copy(self)
        _without(other, self, indices)
        return other

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
        with on_disk(self.recordings[index].path) as file:
            audio = read_excerpt(file, start, there, SAMPLE_RATE)
        return _padded(audio.samples, samples)


def _without(
    other: WaveformStore | DirectStore,
    store: WaveformStore | DirectStore,
    indices: Container[int],
) -> list[int]:
    """Keep in `other` all recordings of `store` but some; returns the indices of those kept."""
    kept = [index for index in range(len(store)) if index not in indices]
    other.recordings = [store.recordings[index] for index in kept]
    other.contents = [store.contents[index] for index in kept]
    other.lengths = store.lengths[kept]
    return kept


def skipped_files(index: dict[str, Any]) -> list[tuple[Path, str]]:
    """What an index says of the files that are left out."""
    return [(Path(path), reason) for path, reason in index["skipped"]]


def files_state(recordings: Sequence[Recording]) -> str:
    """SHA-256 over ids, paths, sizes and times: another list, or files changed since, differ."""
    digest = hashlib.sha256()
    for recording in recordings:
        try:
            stat = file_of(recording.path).stat()
            state = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:
            state = "missing"
        digest.update(os.fsencode(f"{recording.id}\0{recording.path.absolute()}\0{state}\n"))
    return digest.hexdigest()


def read_index(folder: Path, state: str) -> dict[str, Any]:
    """What `audiolm.data.store` wrote of the recordings in `folder`.

    Raises:
        CorpusError: if there is none that can be read, or it is of another state of the files.
    """
    path = folder / "index.json"
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CorpusError(f"{folder}: holds no packed corpus; pack it first") from None
    if not isinstance(index, dict) or index.get("format_version") != FORMAT_VERSION:
        raise CorpusError(f"{path}: was written by another version; pack the corpus again")
    if index["fingerprint"] != state:
        raise CorpusError(f"{folder}: is a pack of other recordings; pack the corpus again")
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
