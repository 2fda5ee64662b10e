"""The level of a long sound, held near that of its beginning.

A stage that makes codes sees some seconds of what it has made. How loud the prompt was it knows
from there alone, so in minutes its level walks away, by ten decibels and more. Nobody who listens
wants to turn the volume up and down, so a slow gain leads it back. It acts on the samples alone:
which tokens come next does not depend on it.

The level is the mean energy of steps of 40 ms, each weighted by its own energy, so that a pause is
no quieter voice; recent steps count most. So a rise is followed within `MEMORY`, a fall of ten
decibels within a minute. The gain follows what came before alone: nothing waits for it, and it is
the same however the sound is cut into chunks.
"""

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP

AFTER = 20.0
"""Seconds after the beginning whose level is held in which nothing is changed: continuations of the
usual lengths (7 s of speech, 20 s of music) are what the codec makes."""

WITHOUT_PROMPT = 10.0
"""Seconds whose level is held where there is no prompt."""

FREE = 3.0
"""dB by which the level may differ: a voice is not equally loud at all times."""

LARGEST = 12.0
"""dB of the largest gain, up or down."""

MEMORY = 10.0
"""Seconds after which a step counts 1/e as much."""

SLEW = 1.0
"""dB a second by which the gain changes at most."""

QUIETEST = -60.0
"""dB of full scale; a beginning below it is silence, and has no level to be held."""

STEP = SEMANTIC_HOP
"""Samples in a step."""


class _Level:
    """The level of the steps so far, each step counting `decay` times as much as the next one."""

    def __init__(self, decay: float) -> None:
        self._decay, self._energy, self._squared = decay, 0.0, 0.0

    def push(self, energy: float) -> None:
        self._energy = self._decay * self._energy + energy
        self._squared = self._decay * self._squared + energy**2

    @property
    def decibels(self) -> float:
        """Of full scale; -inf of silence."""
        if not self._squared:
            return -math.inf
        return 10 * math.log10(self._squared / self._energy)


class LevelHolder:
    """Holds the level of a sound that comes in chunks near that of its beginning.

    Args:
        prompt: samples at the beginning whose level is held; 0 for the first `WITHOUT_PROMPT`
            seconds.
    """

    def __init__(self, prompt: int) -> None:
        beginning = prompt or round(WITHOUT_PROMPT * SAMPLE_RATE)
        self._beginning = -(-beginning // STEP)  # steps
        self._free = self._beginning + round(AFTER * SAMPLE_RATE / STEP)  # steps left as they are
        self._wanted = _Level(1.0)
        self._level = _Level(math.exp(-STEP / SAMPLE_RATE / MEMORY))
        self._steps = 0  # whole ones that came
        self._energy, self._filled = 0.0, 0  # of the step that is coming: sum of squares, samples
        self._gain, self._next = 0.0, 0.0  # dB where that step begins and ends

    def push(self, samples: Float[ndarray, "T"]) -> Float[ndarray, "T"]:
        """As many samples (T,) at 16 kHz with the gain; themselves as long as there is none."""
        made = []
        position = 0
        while position < len(samples):
            piece = samples[position : position + STEP - self._filled]
            made.append(self._with_gain(piece))
            self._energy += float(np.square(piece, dtype=np.float64).sum())
            self._filled += len(piece)
            position += len(piece)
            if self._filled == STEP:
                self._end_step()
        return np.concatenate(made) if made else samples

    def _with_gain(self, piece: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
        if self._gain == self._next == 0.0:
            return piece
        places = np.arange(self._filled, self._filled + len(piece)) / STEP
        decibels = self._gain + (self._next - self._gain) * places
        louder: ndarray = piece * (10 ** (decibels / 20)).astype(piece.dtype)
        return louder

    def _end_step(self) -> None:
        energy = self._energy / STEP
        self._energy, self._filled = 0.0, 0
        self._level.push(energy)
        if self._steps < self._beginning:
            self._wanted.push(energy)
        self._steps += 1
        self._gain = self._next
        if self._steps >= self._free:
            most = SLEW * STEP / SAMPLE_RATE
            self._next += float(np.clip(self._leading_back() - self._gain, -most, most))

    def _leading_back(self) -> float:
        """The gain in dB that would bring the level as near as it is to be."""
        wanted, level = self._wanted.decibels, self._level.decibels
        if wanted < QUIETEST or level < QUIETEST:
            return 0.0
        off = level - wanted
        return float(np.clip(np.clip(off, -FREE, FREE) - off, -LARGEST, LARGEST))
