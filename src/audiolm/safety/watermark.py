"""The mark in the sound itself: what is made by a model of this package says so, inaudibly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Payload:
    """What a mark says."""

    family: int
    """Which family of models, 0 to 255."""
    fingerprint: int
    """The first 16 bits of the model's fingerprint."""


@dataclass(frozen=True)
class MarkReading:
    """What was found of a mark in a recording."""

    found: bool
    """Whether `p_value` is at most 1e-4."""
    p_value: float
    """How likely a recording without a mark, of this length, would look as marked as this one."""
    payload: Payload | None = None
    """What the mark says; None where none was found, or too little of it to be read."""
    start: float | None = None
    """Seconds from where a mark is found; None where none is."""
    end: float | None = None
    """Seconds up to which a mark is found."""


def read_mark(samples: NDArray[np.float32], sample_rate: int) -> MarkReading:
    """Look for a mark in samples (T,) at any sample rate from 8 kHz."""
    raise NotImplementedError
