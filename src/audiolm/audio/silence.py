"""Silence: semantic steps (40 ms) that are far below the loud parts of their own recording."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from audiolm.shapes import SEMANTIC_HOP

DEPTH = 30.0
"""dB below what is loud."""
LOUD = 95.0
"""Percent of the steps that do not exceed what counts as loud."""


def step_levels(samples: Float[ndarray, "T"]) -> Float[ndarray, "S"]:
    """The level of each semantic step, the last one perhaps shorter, in dB of full scale."""
    if not len(samples):
        return np.zeros(0)
    begins = np.arange(0, len(samples), SEMANTIC_HOP)
    energy = np.add.reduceat(np.square(samples, dtype=np.float64), begins)
    lengths = np.minimum(SEMANTIC_HOP, len(samples) - begins)
    levels: ndarray = 10 * np.log10(energy / lengths + 1e-12)
    return levels


def silent_steps(samples: Float[ndarray, "T"]) -> Bool[ndarray, "S"]:
    """Which semantic steps of a recording at 16 kHz are silent beside its loud parts."""
    levels = step_levels(samples)
    if not len(levels):
        return np.zeros(0, dtype=bool)
    silent: ndarray = levels < np.percentile(levels, LOUD) - DEPTH
    return silent
