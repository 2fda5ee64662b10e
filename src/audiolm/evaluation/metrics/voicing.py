"""Hoarseness: is the voice of a reconstruction as periodic as that of its recording?

A decoder whose magnitudes are right and whose phases are free makes voices that sound hoarse or
whispered: pitch comes and goes, harmonics drown in noise. Three metrics of tracked pitch tell
(CARGAN, Morrison et al., ICLR 2022):

* pitch error: root mean square of the difference in cents, over frames voiced in both;
* periodicity error: root mean square of the difference in periodicity, over all frames;
* voicing F1: harmonic mean of precision and recall of the frames said to be voiced.

Conventions
-----------
A track is a pair of arrays (n,) on one grid of times: pitch in Hz, 0 where a frame is unvoiced, and
periodicity from 0 to 1. `track` makes one by Praat's autocorrelation method (Boersma, 1993), as
praat-parselmouth has it; a codec that was trained with another tracker is not judged by its own.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

STEP_SECONDS = 0.01
FLOOR, CEILING = 65.0, 500.0
"""Hz between which pitch is looked for."""


@dataclass(frozen=True)
class Track:
    """Pitch and periodicity of one recording."""

    pitch: np.ndarray
    """(n,) Hz, 0 where there is no voice."""
    periodicity: np.ndarray
    """(n,) 0 to 1: the best autocorrelation of any pitch."""


def track(praat: Any, samples: np.ndarray, sample_rate: int) -> Track:
    """Follow the pitch of a recording.

    Args:
        praat: the module `parselmouth`.
        samples: (T,) in [-1, 1], at least 100 ms.
        sample_rate: samples per second.
    """
    sound = praat.Sound(samples.astype(np.float64), sample_rate)
    found = sound.to_pitch_ac(time_step=STEP_SECONDS, pitch_floor=FLOOR, pitch_ceiling=CEILING)
    candidates = found.to_array()  # (candidates, n)
    strength = np.where(candidates["frequency"] > 0, candidates["strength"], 0.0)
    pitch = np.nan_to_num(np.asarray(found.selected_array["frequency"], dtype=np.float64))
    return Track(pitch, np.clip(np.nan_to_num(strength).max(axis=0), 0.0, 1.0))


def validate(reference: Track, estimate: Track) -> None:
    """Refuse tracks that cannot be compared.

    Raises:
        ValueError: they are not (n,) on one grid, n at least 1, or hold values that cannot be.
    """
    arrays = (reference.pitch, reference.periodicity, estimate.pitch, estimate.periodicity)
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or arrays[0].ndim != 1 or not len(arrays[0]):
        raise ValueError(f"tracks of shapes {sorted(shapes)}: give (n,) arrays on one grid")
    if not all(np.isfinite(array).all() and (array >= 0).all() for array in arrays):
        raise ValueError("tracks hold values that are negative or not finite")


def pitch_error(reference: Track, estimate: Track) -> float | None:
    """Root mean square error in cents over frames voiced in both; None where there are none."""
    validate(reference, estimate)
    both = (reference.pitch > 0) & (estimate.pitch > 0)
    if not both.any():
        return None
    cents = 1200 * np.log2(estimate.pitch[both] / reference.pitch[both])
    return float(np.sqrt(np.mean(cents**2)))


def periodicity_error(reference: Track, estimate: Track) -> float:
    """Root mean square error of periodicity over all frames, 0 to 1."""
    validate(reference, estimate)
    return float(np.sqrt(np.mean((reference.periodicity - estimate.periodicity) ** 2)))


def voicing_f1(reference: Track, estimate: Track) -> float | None:
    """F1 of voiced frames, 0 to 1; None where neither has any."""
    validate(reference, estimate)
    true, said = reference.pitch > 0, estimate.pitch > 0
    if not true.any() and not said.any():
        return None
    return float(2 * (true & said).sum() / (true.sum() + said.sum()))


def evaluate(reference: Track, estimate: Track) -> dict[str, float | None]:
    """All three, by name."""
    return {
        "pitch_error": pitch_error(reference, estimate),
        "periodicity_error": periodicity_error(reference, estimate),
        "voicing_f1": voicing_f1(reference, estimate),
    }
