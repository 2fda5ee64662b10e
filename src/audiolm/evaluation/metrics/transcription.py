"""Notes that a transcriber finds, beside those that were played.

Definition: a note is found if one of its pitch begins within 50 ms of it, each found note counting
for one played note only (mir_eval.transcription, onsets without offsets: labels of where a note
ends follow the key or the pedal, and differ between corpora). Precision, recall and F1 are of
these; velocity is the correlation of velocities over the pairs, as transcribers' scales differ.

Convention: notes are rows of onset and offset in seconds, MIDI note and velocity (n, 4); what was
played comes first, as in mir_eval.
"""

import numpy as np

from audiolm.evaluation.requirements import extra

UNITS = {"precision": "%", "recall": "%", "f1": "%", "velocity": ""}
"""What `evaluate` returns."""
SHORTEST = 0.01
"""Seconds that a note is said to last at least: mir_eval takes none of no length."""


def pairs(played: np.ndarray, found: np.ndarray) -> list[tuple[int, int]]:
    """Rows of `played` and of `found` that are the same note.

    Raises:
        Skipped: without mir_eval.
    """
    if not len(played) or not len(found):
        return []
    matched: list[tuple[int, int]] = extra("mir_eval.transcription").match_notes(
        *_as_mir_eval(played), *_as_mir_eval(found), offset_ratio=None
    )
    return matched


def evaluate(played: np.ndarray, found: np.ndarray) -> dict[str, float | None]:
    """All metrics of `UNITS`, by name; None where there is nothing to tell them by.

    Raises:
        Skipped: without mir_eval.
    """
    both = pairs(played, found)
    velocities = np.array([(played[a, 3], found[b, 3]) for a, b in both]).reshape(-1, 2)
    varied = len(both) > 2 and (velocities.std(axis=0) > 0).all()
    return {
        "precision": 100 * len(both) / len(found) if len(found) else None,
        "recall": 100 * len(both) / len(played) if len(played) else None,
        "f1": 200 * len(both) / (len(found) + len(played)) if len(played) else None,
        "velocity": float(np.corrcoef(velocities.T)[0, 1]) if varied else None,
    }


def _as_mir_eval(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals (n, 2) and pitches (n,) in Hz."""
    intervals = notes[:, :2].copy()
    intervals[:, 1] = np.maximum(intervals[:, 1], intervals[:, 0] + SHORTEST)
    return intervals, 440.0 * 2.0 ** ((notes[:, 2] - 69) / 12)
