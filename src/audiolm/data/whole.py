"""Whole recordings of a corpus, straight from their files, decoded ahead of who computes with them.

For one pass over a corpus that nothing is kept of: no pack, and no pass before to see what can be
decoded. What cannot is left out when it is met, and told of.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from audiolm.audio.files import read
from audiolm.data.batches import length_batches
from audiolm.data.corpus import Recording
from audiolm.data.names import printable
from audiolm.data.tars import on_disk
from audiolm.errors import AudioError
from audiolm.shapes import SAMPLE_RATE, Lengths, Waveform


@dataclass(frozen=True)
class WholeBatch:
    """Some recordings, padded to the longest."""

    indices: list[int]
    """Which of the recordings that were given."""
    waveform: Waveform
    """(B, T)"""
    lengths: Lengths
    """(B,) samples that are real."""


class WholeReader:
    """Iterates once over recordings in batches of similar length; one batch is decoded ahead.

    Args:
        recordings: which; their headers' lengths say what goes together.
        batch_seconds: audio in one batch, padding included; longer recordings go alone.
        threads: recordings decoded at a time.
    """

    def __init__(
        self, recordings: Sequence[Recording], batch_seconds: float, threads: int = 1
    ) -> None:
        self.recordings = recordings
        lengths = [round(recording.seconds * SAMPLE_RATE) for recording in recordings]
        self.groups = length_batches(lengths, round(batch_seconds * SAMPLE_RATE))
        self.threads = threads
        self.unreadable: list[str] = []
        """Why recordings are in no batch, as far as they were met."""

    def __iter__(self) -> Iterator[WholeBatch]:
        with ThreadPoolExecutor(self.threads) as pool:

            def ask(group: list[int]) -> list[Future[np.ndarray]]:
                return [pool.submit(_decode, self.recordings[index]) for index in group]

            try:
                ahead = ask(self.groups[0]) if self.groups else []
                for number, group in enumerate(self.groups):
                    asked = ahead
                    following = self.groups[number + 1 : number + 2]
                    ahead = ask(following[0]) if following else []
                    batch = self._batch(group, asked)
                    if batch.indices:
                        yield batch
            finally:
                pool.shutdown(cancel_futures=True)

    def _batch(self, group: Sequence[int], asked: Sequence[Future[np.ndarray]]) -> WholeBatch:
        rows: dict[int, np.ndarray] = {}  # (T,) each
        for index, future in zip(group, asked, strict=True):
            try:
                rows[index] = future.result()
            except AudioError as error:
                self.unreadable.append(printable(str(error)))
        longest = max((len(row) for row in rows.values()), default=0)
        waveform = torch.zeros(len(rows), longest)  # (B, T)
        for place, row in enumerate(rows.values()):
            waveform[place, : len(row)] = torch.from_numpy(row)
        lengths = torch.tensor([len(row) for row in rows.values()], dtype=torch.int64)  # (B,)
        return WholeBatch(list(rows), waveform, lengths)


def _decode(recording: Recording) -> np.ndarray:
    """(T,) float32 at 16 kHz."""
    with on_disk(recording.path) as file:
        samples: np.ndarray = read(file, SAMPLE_RATE).samples
    return samples
