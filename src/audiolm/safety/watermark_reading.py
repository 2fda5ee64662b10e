"""Finding the mark again, in any recording: no key, no model, no original.

Sound is looked at in windows of 8 s. The level of each cell is compared with its neighbours'
(whitened), whole periods are added up, and the pattern is slid along. That is done at 21 speeds,
and with two opinions of what a quiet cell is worth.

The p-value needs no model of recordings. Signs of the pattern were drawn without looking at any: of
whatever numbers d a recording gives for the dipoles, the sum of sign * d deviates from 0 as a coin
would have it, by the root of the sum of d squared. The fit is counted in such deviations, and the
p-value pays for every fit that was tried.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from audiolm.audio.resample import resample
from audiolm.safety.watermark_pattern import (
    BANDS,
    BINS,
    CELL_BINS,
    CODE_BITS,
    DIPOLES,
    EDGES,
    PAYLOAD_BITS,
    STEPS,
    Payload,
    code_words,
    payload_dipoles,
    synchronisation,
)
from audiolm.shapes import SAMPLE_RATE

_Float = TypeVar("_Float", np.float32, np.float64)

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

FLOOR_DB = -80.0
"""What is so far below the loud parts is no sound."""
CLIP = 0.7
"""Typical deviations up to which one cell counts: no single one may say much."""

BESIDE, BEFORE, ACROSS = -0.25, -0.25, 0.06
"""What a cell's level is compared with: the weights of the four nearest bands, of the same band one
cell before and after, and of the nearest bands then: what speech and piano, clean, noisy and coded,
were read best with. They add up to about nothing, so that a steady level says nothing."""

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
    quiet = np.percentile(levels(table, 1.0), (10, 90), axis=0).astype(np.float32)  # (2, BANDS)
    best_score, best = -math.inf, (0, 1.0, np.zeros((0, DIPOLES), np.float32))
    for speed in SPEEDS:
        for dipoles in whitened(levels(table, speed), quiet[0], quiet[1]):  # (n, DIPOLES)
            fits = fits_of(folded(dipoles), pattern())
            place = int(fits.argmax())
            if fits[place] > best_score:
                best_score, best = float(fits[place]), (place, speed, dipoles)
    p_value = min(1.0, HYPOTHESES * _upper_tail(best_score))
    if p_value > FOUND:
        return _Fit(p_value)
    place, speed, dipoles = best
    start, end = _extent(dipoles, place)
    seconds = HOP / SAMPLE_RATE / speed
    return _Fit(p_value, _payload(folded(dipoles), place), start * seconds, end * seconds)


def summed_levels(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Levels in dB of samples (T,), summed over all earlier spectra and lower bins.

    Returns:
        (BINS + 1, n + 1); the mean level of any rectangle is a difference of its four corners.
    """
    padded = np.pad(samples, FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]  # (n, FRAME)
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME + 1)[:-1].astype(np.float32))) ** 2
    loud = np.percentile(power[:, EDGES[0] : EDGES[-1]].mean(axis=1), 95)
    level = 10 * np.log10(power / (loud + 1e-30) + 10 ** (FLOOR_DB / 10))  # (n, BINS)
    # The sums grow to millions, of which differences of a tenth are wanted: float64.
    return np.pad(level.T.astype(np.float64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)


def levels(table: NDArray[np.float64], speed: float) -> NDArray[np.float32]:
    """Mean levels (n, BANDS) of cells that begin at each spectrum, of sound at another speed.

    Played faster, cells lie higher and are shorter: their corners are looked up in between.
    """
    spectra = table.shape[1] - 1
    by_band = np.diff(_between(table, np.minimum(EDGES * speed, BINS)), axis=0).T
    # Of one band, sums over time are small enough for float32, the mean taken off before.
    mean = by_band[-1] / spectra  # (BANDS,)
    sums = np.ascontiguousarray(by_band - np.arange(spectra + 1)[:, None] * mean, dtype=np.float32)
    begins = np.arange(max(1, int(spectra * speed) - CELL)) / speed
    ends = np.minimum(begins + CELL / speed, spectra)
    lasting = np.maximum(ends - begins, 1e-9).astype(np.float32)[:, None]
    within = (_between(sums, ends) - _between(sums, begins)) / lasting  # (n, BANDS)
    return np.asarray((within + mean.astype(np.float32)) / np.float32(speed * CELL_BINS))


def _between(rows: NDArray[_Float], places: NDArray[np.float64]) -> NDArray[_Float]:
    """Rows (n, m) of a table at places that need not be whole numbers."""
    low = np.minimum(places.astype(np.int64), len(rows) - 2)
    share = (places - low).astype(rows.dtype)[:, None]
    below = rows[low]
    between: NDArray[_Float] = below + (rows[low + 1] - below) * share
    return between


def whitened(
    level: NDArray[np.float32], quietest: NDArray[np.float32], loudest: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """How much louder than their neighbours lower cells of dipoles are than upper ones.

    Args:
        level: (n, BANDS) in dB, of cells that begin at each spectrum.
        quietest: (BANDS,) the level that nine tenths of a band's cells pass.
        loudest: (BANDS,) the level that one tenth of them pass.

    Returns:
        (n, DIPOLES) for each of `QUIET_DB`; single cells are clipped.
    """
    alive = np.flatnonzero(loudest > FLOOR_DB + 6)
    if not len(alive):
        return [np.zeros((len(level), DIPOLES), np.float32) for _ in QUIET_DB]
    # Bands where nothing is, as above 4 kHz on a telephone, say nothing, and their neighbours are
    # not compared with them.
    first, last = alive[0], alive[-1]
    now = level[:, np.clip(np.arange(-2, BANDS + 2), first, last)]  # (n, BANDS + 4)
    padded = np.pad(now, ((CELL, CELL), (0, 0)), mode="edge")
    around = padded[: len(level)] + padded[2 * CELL :]  # a cell before and a cell after
    both = BESIDE * now + ACROSS * around
    cells = (1 - BESIDE) * now[:, 2:-2] + (BEFORE - ACROSS) * around[:, 2:-2]
    for shift in range(5):
        cells += both[:, shift : shift + BANDS]
    cells[:, :first] = cells[:, last + 1 :] = 0
    inside = cells[:, first : last + 1]
    inside -= inside.mean()
    typical = float(np.median(np.abs(inside[::8]))) / 0.6745 + 1e-9
    cells = np.clip(cells / typical, -CLIP, CLIP)
    above = level - quietest
    weighted = [cells if db is None else cells * np.clip(above / db, 0, 1) for db in QUIET_DB]
    return [worth[:, 0::2] - worth[:, 1::2] for worth in weighted]


def folded(dipoles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dipoles (n, DIPOLES) added up period by period: (PERIOD, DIPOLES)."""
    periods = -(-len(dipoles) // PERIOD)
    padded = np.pad(dipoles, ((0, periods * PERIOD - len(dipoles)), (0, 0)))
    return np.asarray(padded.reshape(periods, PERIOD, DIPOLES).sum(axis=0))


@dataclass(frozen=True)
class Pattern:
    """Signs spread over a period, as their transforms: what a period is multiplied with.

    Both (PERIOD // 2 + 1, DIPOLES).
    """

    signs: NDArray[np.complex64]
    """Of the signs."""
    places: NDArray[np.complex64]
    """Of 1 where a sign is and 0 elsewhere."""

    @classmethod
    def of(cls, signs: NDArray[np.int64]) -> "Pattern":
        """The pattern of signs (STEPS, DIPOLES): 1, -1, or 0 where none is."""
        spread = np.zeros((2, PERIOD, DIPOLES), dtype=np.float32)
        spread[:, ::CELL] = signs, signs**2  # a cell's level stands where it begins
        both = np.conj(np.fft.rfft(spread, axis=1))
        return cls(both[0], both[1])


@cache
def pattern() -> Pattern:
    """The pattern that marks are found by."""
    return Pattern.of(synchronisation())


def fits_of(period: NDArray[np.float32], pattern: Pattern) -> NDArray[np.float32]:
    """How well a pattern fits a period (PERIOD, DIPOLES), begun at each place: (PERIOD,).

    In deviations: what a pattern of other signs would give at this place is 0, give or take 1.
    """
    fits = _slid(period, pattern.signs)
    squares = _slid(period**2, pattern.places)
    # Where a place holds next to nothing, rounding must not pass for a fit.
    return np.asarray(fits / np.sqrt(np.maximum(squares, 1e-6 * squares.max() + 1e-9)))


def _slid(period: NDArray[np.float32], spread: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Sums over what is spread, begun at each spectrum of a period: (PERIOD,)."""
    product = np.einsum("fd,fd->f", np.fft.rfft(period, axis=0), spread)
    return np.fft.irfft(product, PERIOD).astype(np.float32)


def _payload(period: NDArray[np.float32], place: int) -> Payload | None:
    """The likeliest payload of a period (PERIOD, DIPOLES) whose pattern begins at `place`."""
    signs, bits = payload_dipoles()
    heard = np.roll(period, -place, axis=0)[::CELL] * signs  # (STEPS, DIPOLES)
    soft = np.bincount(bits.ravel(), heard.ravel(), CODE_BITS)  # (CODE_BITS,)
    fits = code_words() @ soft.astype(np.float32)  # (65536,)
    best = int(fits.argmax())
    deviation = math.sqrt(float((heard**2).sum())) + 1e-9
    chance = (1 << PAYLOAD_BITS) * _upper_tail(float(fits[best]) / deviation)
    return Payload.of_number(best) if chance <= READ_PAYLOAD else None


def _extent(dipoles: NDArray[np.float32], place: int) -> tuple[int, int]:
    """Where in dipoles (n, DIPOLES) the pattern begun at `place` fits: first and last spectrum.

    The stretch over which its fit is, in sum, furthest above half of what it is where it is good.
    """
    steps = np.arange(place % CELL, len(dipoles), CELL)
    fits = (dipoles[steps] * synchronisation()[(steps - place) // CELL % STEPS]).sum(axis=1)
    # The better half of all steps: where the pattern is, and some luck.
    good = float(np.sort(fits)[len(fits) // 2 :].mean())
    total = np.concatenate([[0.0], np.cumsum(fits - good / 4)])
    lowest = np.minimum.accumulate(total)
    last = int((total - lowest).argmax())
    first = int(total[: last + 1].argmin())
    return first * CELL, min(last * CELL, len(dipoles))


def _upper_tail(score: float) -> float:
    """How likely a normal number is at least `score` deviations above its mean."""
    return 0.5 * math.erfc(score / math.sqrt(2))
