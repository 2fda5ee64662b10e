"""The mark in the sound itself: what is made by a model of this package says so, inaudibly.

A patchwork in the time-frequency plane (`watermark_pattern`): windows of 40 ms are transformed,
cells of 50 Hz by 40 ms made a little louder or softer, in such a way that what an ear hears
together stays as loud as it was (`watermark_hearing`), and added up again. No network and no
weights; it streams with less than 40 ms of delay, and a change of level does not touch it.
`watermark_reading` finds it again.
"""

import numpy as np
from numpy.typing import NDArray

from audiolm.safety.watermark_hearing import balanced, depths
from audiolm.safety.watermark_pattern import BINS, CELL_BINS, EDGES, STEPS, Payload, signs_of
from audiolm.safety.watermark_reading import MarkReader, MarkReading, read_mark

__all__ = ["DEPTH_DB", "MarkReader", "MarkReading", "MarkStream", "Payload", "mark", "read_mark"]

DEPTH_DB = 1.75
"""How much louder or softer a cell is made, before the balance and where it has its whole depth."""

HOP = 320
"""Samples between windows: 20 ms. A window is two hops long."""

_WINDOW = np.sin(np.pi * (np.arange(2 * HOP) + 0.5) / (2 * HOP)).astype(np.float32)
"""Its square and that of the next window's beginning add up to 1."""

_FRAMES = 2
"""Windows in a cell."""


def mark(samples: NDArray[np.float32], payload: Payload) -> NDArray[np.float32]:
    """Marked samples (T,) at 16 kHz; the first 20 ms become marked gradually, without a joint."""
    stream = MarkStream(payload)
    return np.concatenate([stream.push(samples), stream.flush()])


class MarkStream:
    """`mark` of sound that comes in chunks: together the same samples, to within 1e-6.

    Args:
        payload: what the mark says.
    """

    def __init__(self, payload: Payload) -> None:
        gains = np.zeros((STEPS, BINS))  # dB
        gains[:, EDGES[0] : EDGES[-1]] = np.repeat(signs_of(payload), CELL_BINS, axis=1)
        self._factors = 10 ** (DEPTH_DB * depths() * gains / 20)  # (STEPS, BINS)
        # The first window begins one hop before the sound. It is left as it is, so that the sound
        # joins what was before it.
        self._waiting = np.zeros(HOP, dtype=np.float32)
        self._overlap = np.zeros(HOP, dtype=np.float32)
        self._frame = -1
        self._taken = self._given = 0

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take samples (n,), give those (m,) that are ready; up to 639 wait for the next call."""
        self._taken += len(samples)
        return self._made(samples)

    def flush(self) -> NDArray[np.float32]:
        """The samples (m,) that still wait; nothing may be pushed after it."""
        left = self._taken - self._given
        return self._made(np.zeros(2 * HOP, dtype=np.float32))[:left]

    def _made(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        waiting = np.concatenate([self._waiting, samples], dtype=np.float32)
        count = len(waiting) // HOP - 1
        if count < 1:
            self._waiting = waiting
            return np.zeros(0, dtype=np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(waiting, 2 * HOP)[::HOP]  # (n, 640)
        spectrum = np.fft.rfft(frames[:count] * _WINDOW)  # (n, BINS)
        number = self._frame + np.arange(count)
        # In float64: chunks of any length give the same factors.
        power = np.abs(spectrum).astype(np.float64) ** 2
        factors = balanced(power, self._factors[number // _FRAMES % STEPS])  # (n, BINS)
        factors[number < 0] = 1
        spectrum *= factors.astype(np.float32)
        made = np.fft.irfft(spectrum, 2 * HOP).astype(np.float32) * _WINDOW  # (n, 640)
        before = np.concatenate([self._overlap[None], made[:-1, HOP:]])
        ready: NDArray[np.float32] = (made[:, :HOP] + before).ravel()
        ready = ready[HOP:] if self._frame < 0 else ready
        self._waiting, self._overlap = waiting[count * HOP :], made[-1, HOP:]
        self._frame += count
        self._given += len(ready)
        return ready
