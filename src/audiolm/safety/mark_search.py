"""Looking for the mark in sound that comes block by block, however long it is."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiolm.shapes import SAMPLE_RATE

if TYPE_CHECKING:
    from audiolm.safety.watermark import MarkReading

PIECE = 60 * SAMPLE_RATE
"""Samples that are searched at once: bounds the memory that long recordings take."""
SHARED = 5 * SAMPLE_RATE
"""Samples that two pieces have in common, so that no mark is cut at an end."""
FOUND_FROM = 1e-4
"""The p-value from which down a mark counts as found, as `read_mark` has it for one piece."""


class MarkSearch:
    """Searches one channel, block by block."""

    def __init__(self) -> None:
        self._waiting: list[NDArray[np.float32]] = []
        self._count = 0  # samples that wait
        self._start = 0  # the first of them, from the beginning
        self._readings: list[tuple[float, MarkReading]] = []  # seconds of a piece's start, reading

    def push(self, samples: NDArray[np.float32]) -> None:
        """The next samples (n,) at 16 kHz."""
        self._waiting.append(samples)
        self._count += len(samples)
        while self._count >= PIECE + SHARED:
            whole = np.concatenate(self._waiting)
            self._read(whole[:PIECE])
            self._waiting = [whole[PIECE - SHARED :]]
            self._count -= PIECE - SHARED
            self._start += PIECE - SHARED

    def finish(self) -> "MarkReading | None":
        """The likeliest mark, with a p-value for the whole; None where there was no sound."""
        if self._count and (not self._readings or self._count > SHARED):
            self._read(np.concatenate(self._waiting))
        return together(self._readings)

    def _read(self, samples: NDArray[np.float32]) -> None:
        # Imported where it is used: what answers without a mark need not load it.
        from audiolm.safety.watermark import read_mark

        self._readings.append((self._start / SAMPLE_RATE, read_mark(samples, SAMPLE_RATE)))


def together(readings: "list[tuple[float, MarkReading]]") -> "MarkReading | None":
    """What the readings of several pieces say of the whole.

    The smallest p-value counts, times the number of pieces that were looked at. Where that is
    small enough the mark reaches from where it is found first to where it is found last.

    Args:
        readings: seconds at which a piece begins, and what was read of it.
    """
    from audiolm.safety.watermark import MarkReading

    if not readings:
        return None
    count = len(readings)
    _, best = min(readings, key=lambda reading: reading[1].p_value)
    p_value = min(1.0, best.p_value * count)
    if p_value > FOUND_FROM:
        return MarkReading(False, p_value)
    found = [
        (begin, reading) for begin, reading in readings if reading.p_value * count <= FOUND_FROM
    ]
    starts = [begin + (reading.start or 0.0) for begin, reading in found]
    ends = [begin + reading.end for begin, reading in found if reading.end is not None]
    return MarkReading(True, p_value, best.payload, min(starts), max(ends) if ends else None)
