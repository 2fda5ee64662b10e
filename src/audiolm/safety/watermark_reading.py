"""Finding the mark again, in any recording: no key, no model, no original.

Sound is looked at in windows of 8 s. The level of each cell is compared with its neighbours'
(whitened), whole periods are added up, and the pattern is slid along: where it fits far better
than patterns that no mark has (decoys), there is a mark. That is done at 21 speeds, and with two
opinions of what a quiet cell is worth; the p-value pays for every fit that was tried.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from audiolm.audio.resample import resample
from audiolm.safety.watermark_pattern import (
    BANDS,
    BINS,
    CODE_BITS,
    EDGES,
    PAYLOAD_BITS,
    STEPS,
    Payload,
    code_words,
    decoys,
    payload_cells,
    synchronisation,
)
from audiolm.shapes import SAMPLE_RATE

FOUND = 1e-4
"""p-value up to which a mark counts as found: one recording in 10,000 without one."""

WINDOW_SECONDS, WINDOW_HOP_SECONDS = 8, 4
"""How much is looked at together, and how far windows lie apart in a longer recording."""

SPEEDS = tuple(1 + percent / 200 for percent in range(-10, 11))
"""Speeds at which the mark is looked for: 95 to 105 %, half a percent apart."""

HOP, FRAME = 160, 640
"""Samples between spectra, and of one of them."""
CELL = 4
"""Spectra in a cell."""
PERIOD = STEPS * CELL
"""Spectra in a period of the pattern, and places that it is tried at."""

FLOOR_DB = -60.0
"""What is so far below the loud parts is no sound."""
CLIP = 1.5
"""Typical deviations up to which one cell counts: no single one may say much."""

WHITENING = np.array(
    [
        [0.04, 0.04, -0.18, 0.04, 0.04],
        [-0.28, -0.29, 1.0, -0.29, -0.28],
        [0.04, 0.04, -0.18, 0.04, 0.04],
    ]
)
"""What a cell's level is compared with: weights of the cells before, at and after its time, up to
two bands away. The middle row of the inverse covariance of such levels in recordings."""

QUIET_DB = (None, 10.0)
"""The two opinions: all cells count alike; or a cell counts the less the nearer it is, within so
many dB, to the quietest that its band ever is (noise hides what is there)."""

HYPOTHESES = len(SPEEDS) * PERIOD * len(QUIET_DB)
"""Fits that are tried in a window."""

READ_PAYLOAD = 1e-3
"""Chance of a payload out of nothing, up to which one is reported."""


@dataclass(frozen=True)
class MarkReading:
    """What was found of a mark in a recording."""

    found: bool
    """Whether `p_value` is at most 1e-4."""
    p_value: float
    """How likely a recording without a mark, as long as this one, fits the pattern as well."""
    payload: Payload | None = None
    """What the mark says; None where none is found, or too little of it to be read."""
    start: float | None = None
    """Seconds from where on a mark is found, to within about half a second; None where none is."""
    end: float | None = None
    """Seconds up to where a mark is found."""


def read_mark(samples: NDArray[np.float32], sample_rate: int) -> MarkReading:
    """Look for a mark in samples (T,), one channel, at any sample rate from 8 kHz.

    The strongest mark is reported; of less than a second one is rarely found.
    """
    reader = MarkReader(sample_rate)
    reader.push(samples)
    return reader.reading()


class MarkReader:
    """`read_mark` of a recording that comes in chunks: hours in the memory of seconds.

    Args:
        sample_rate: of the samples, 8 kHz or more.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._waiting = np.zeros(0, dtype=np.float32)
        self._first = 0  # which sample of the recording `_waiting` begins with
        self._heard = 0  # up to which sample windows have been looked at
        self._found: list[tuple[_Fit, float]] = []
        self._windows = 0
        self._best = _NOTHING

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take samples (n,) and look at the windows that they fill."""
        whole, hop = (s * self._rate for s in (WINDOW_SECONDS, WINDOW_HOP_SECONDS))
        waiting = np.concatenate([self._waiting, samples], dtype=np.float32)
        start = 0
        while len(waiting) - start >= whole:
            self._look(waiting[start : start + whole], start)
            start += hop
        self._waiting = waiting[start:].copy()
        self._first += start

    def reading(self) -> MarkReading:
        """What was found in all that was pushed; nothing may be pushed after it."""
        if self._first + len(self._waiting) > self._heard:
            self._look(self._waiting, 0)
        p_value = min(1.0, self._best.p_value * max(1, self._windows))
        if p_value > FOUND:
            return MarkReading(False, p_value)
        ends = [
            (start + fit.start, start + fit.end)
            for fit, start in self._found
            if fit.p_value * self._windows <= FOUND
        ]
        starts, stops = zip(*ends, strict=True)
        return MarkReading(True, p_value, self._best.payload, min(starts), max(stops))

    def _look(self, window: NDArray[np.float32], start: int) -> None:
        """Look at one window, which begins at sample `start` of `_waiting`."""
        self._heard = self._first + start + len(window)
        self._windows += 1
        fit = best_fit(resample(window, self._rate, SAMPLE_RATE))
        if fit.p_value <= FOUND:
            self._found.append((fit, (self._first + start) / self._rate))
        self._best = min(self._best, fit, key=lambda fit: fit.p_value)


@dataclass(frozen=True)
class _Fit:
    """How well the pattern fits one window at best."""

    p_value: float
    payload: Payload | None = None
    start: float = 0.0
    """Seconds from the window's beginning from which it fits."""
    end: float = 0.0


_NOTHING = _Fit(1.0)


def best_fit(samples: NDArray[np.float32]) -> _Fit:
    """The best fit in samples (T,) at 16 kHz, which are looked at as one window."""
    if len(samples) < 2 * FRAME or not np.abs(samples).max(initial=0.0) > 0:
        return _NOTHING
    table = summed_levels(samples)
    best_score, best = -math.inf, (0, 1.0, np.zeros((0, BANDS)), 1.0)
    for speed in SPEEDS:
        for cells in whitened(levels(table, speed)):  # (n, BANDS), at each place of a spectrum
            fits = _correlated(folded(cells))  # (1 + decoys, PERIOD)
            deviation = float(fits[1:].std()) + 1e-9
            place = int(fits[0].argmax())
            score = float(fits[0, place]) / deviation
            if score > best_score:
                best_score, best = score, (place, speed, cells, deviation)
    p_value = min(1.0, HYPOTHESES * _upper_tail(best_score))
    if p_value > FOUND:
        return _Fit(p_value)
    place, speed, cells, deviation = best
    start, end = _extent(cells, place)
    seconds = HOP / SAMPLE_RATE / speed
    return _Fit(p_value, _payload(folded(cells), place, deviation), start * seconds, end * seconds)


def summed_levels(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Levels in dB of samples (T,), summed over all earlier spectra and lower bins.

    Returns:
        (n + 1, BINS + 1); the mean level of any rectangle is a difference of its four corners.
    """
    padded = np.pad(samples, FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]  # (n, FRAME)
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME + 1)[:-1].astype(np.float32))) ** 2
    loud = np.percentile(power[:, EDGES[0] : EDGES[-1]].mean(axis=1), 95)
    level = 10 * np.log10(power / (loud + 1e-30) + 10 ** (FLOOR_DB / 10))  # (n, BINS)
    return np.pad(level, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)


def levels(table: NDArray[np.float64], speed: float) -> NDArray[np.float64]:
    """Mean levels (n, BANDS) of cells that begin at each spectrum, of sound at another speed.

    Played faster, cells lie higher and are shorter: their corners are looked up in between.
    """
    by_edge = _between(table.T, np.minimum(EDGES * speed, BINS)).T  # (spectra + 1, BANDS + 1)
    count = int((len(table) - 1) * speed) - CELL
    begins = np.arange(max(1, count)) / speed
    ends = np.minimum(begins + CELL / speed, len(table) - 1)
    sums = np.diff(_between(by_edge, ends) - _between(by_edge, begins), axis=1)
    areas = (ends - begins)[:, None] * np.diff(EDGES) * speed
    return np.asarray(sums / np.maximum(areas, 1e-9))


def _between(rows: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (n, m) of a table at places that need not be whole numbers."""
    low = np.minimum(places.astype(np.int64), len(rows) - 2)
    share = (places - low)[:, None]
    return np.asarray(rows[low] * (1 - share) + rows[low + 1] * share)


def whitened(level: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Levels (n, BANDS) compared with their neighbours', clipped: once for each of `QUIET_DB`."""
    alive = np.flatnonzero(np.percentile(level, 90, axis=0) > FLOOR_DB + 6)
    if not len(alive):
        return [np.zeros_like(level) for _ in QUIET_DB]
    # Bands where nothing is, as above 4 kHz on a telephone, say nothing, and their neighbours are
    # not compared with them.
    first, last = alive[0], alive[-1]
    count, reach = len(level), WHITENING.shape[1] // 2
    known = level[:, np.clip(np.arange(-reach, BANDS + reach), first, last)]
    known = np.pad(known, ((CELL, CELL), (0, 0)), mode="edge")
    difference = np.zeros_like(level)
    for row, weights in enumerate(WHITENING):
        for column, weight in enumerate(weights):
            difference += weight * known[row * CELL :, column : column + BANDS][:count]
    difference[:, :first] = difference[:, last + 1 :] = 0
    inside = difference[:, first : last + 1]
    inside -= np.median(inside)
    typical = float(np.median(np.abs(inside))) / 0.6745 + 1e-9
    cells = np.clip(difference / typical, -CLIP, CLIP)
    above = level - np.percentile(level, 10, axis=0)
    return [cells if quiet is None else cells * np.clip(above / quiet, 0, 1) for quiet in QUIET_DB]


def folded(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cells (n, BANDS) added up period by period: (PERIOD, BANDS)."""
    periods = -(-len(cells) // PERIOD)
    padded = np.pad(cells, ((0, periods * PERIOD - len(cells)), (0, 0)))
    return np.asarray(padded.reshape(periods, PERIOD, BANDS).sum(axis=0))


@cache
def _tried() -> NDArray[np.complex128]:
    """Transforms over time of the pattern, and then of decoys: (1 + decoys, PERIOD / 2 + 1, BANDS).

    A cell's level stands at the spectrum at which it begins.
    """
    patterns = np.concatenate([synchronisation()[None], decoys()])
    spread = np.zeros((len(patterns), PERIOD, BANDS))
    spread[:, ::CELL] = patterns
    return np.conj(np.fft.rfft(spread, axis=1))


def _correlated(period: NDArray[np.float64]) -> NDArray[np.float64]:
    """How well each pattern fits a period (PERIOD, BANDS) at each place: (1 + decoys, PERIOD)."""
    transformed = np.fft.rfft(period, axis=0)  # (PERIOD / 2 + 1, BANDS)
    return np.fft.irfft(np.einsum("tb,jtb->jt", transformed, _tried()), PERIOD, axis=1)


def _payload(period: NDArray[np.float64], place: int, deviation: float) -> Payload | None:
    """The likeliest payload of a period (PERIOD, BANDS) whose pattern begins at `place`."""
    signs, bits = payload_cells()
    heard = np.roll(period, -place, axis=0)[::CELL] * signs  # (STEPS, BANDS)
    soft = np.bincount(bits.ravel(), heard.ravel(), CODE_BITS)  # (CODE_BITS,)
    fits = code_words() @ soft.astype(np.float32)  # (65536,)
    best = int(fits.argmax())
    # The pattern of synchronisation has more cells than that of a payload, so its fits deviate more.
    deviation *= math.sqrt(np.abs(signs).sum() / np.abs(synchronisation()).sum())
    chance = (1 << PAYLOAD_BITS) * _upper_tail(float(fits[best]) / deviation)
    return Payload.of_number(best) if chance <= READ_PAYLOAD else None


def _extent(cells: NDArray[np.float64], place: int) -> tuple[int, int]:
    """Where in cells (n, BANDS) the pattern that begins at `place` fits: first and last spectrum.

    The stretch over which its fit is, in sum, furthest above half of what it is on average.
    """
    steps = np.arange(place % CELL, len(cells), CELL)
    fits = (cells[steps] * synchronisation()[(steps - place) // CELL % STEPS]).sum(axis=1)
    strong = np.sort(fits)[len(fits) // 2 :].mean()
    total = np.concatenate([[0.0], np.cumsum(fits - strong / 4)])
    lowest = np.maximum.accumulate(-total)  # minus the lowest sum up to each place
    last = int((total + lowest).argmax())
    first = int(total[: last + 1].argmin())
    return int(first * CELL), min(int(last * CELL), len(cells))


def _upper_tail(score: float) -> float:
    """How likely a normal number is at least `score` deviations above its mean."""
    return 0.5 * math.erfc(score / math.sqrt(2))


def marks_in(channels: Iterable[NDArray[np.float32]], sample_rate: int) -> list[MarkReading]:
    """`read_mark` of each channel: one of two may be made, and the other recorded."""
    return [read_mark(channel, sample_rate) for channel in channels]
