"""What is played, by semantic step: keys that sound, their pitch classes, and onsets.

Definition: at a step of 40 ms a key sounds if one of its notes has begun and not ended at the
step's middle; a pitch class sounds if one of its keys does; there is an onset if any note begins
within the step. Average precision is the mean of the precision at each true cell, the cells ranked
by their score (ties share a rank); F1 is the harmonic mean of precision and recall.

Convention: notes are rows of onset and offset in seconds, MIDI note and velocity (n, 4).
"""

import numpy as np

from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP

LOWEST, KEYS, CLASSES = 21, 88, 12
"""MIDI note of a piano's lowest key, its keys, and the notes of an octave."""
TARGETS = {
    "keys": slice(0, KEYS),
    "classes": slice(KEYS, KEYS + CLASSES),
    "onsets": slice(KEYS + CLASSES, KEYS + CLASSES + 1),
}
"""Which columns of `targets` say what."""
STEP = SEMANTIC_HOP / SAMPLE_RATE
"""Seconds."""


def validate(notes: np.ndarray) -> None:
    """Check notes (n, 4).

    Raises:
        ValueError: they are no such rows, end before they begin, or are of no key of a piano.
    """
    if notes.ndim != 2 or notes.shape[1] != 4:
        raise ValueError(f"notes have four columns, not the shape {notes.shape}")
    if not np.isfinite(notes).all() or (notes[:, 0] < 0).any() or (notes[:, 1] < notes[:, 0]).any():
        raise ValueError("a note ends before it begins, or has no time")
    keys = notes[:, 2] - LOWEST
    if (keys != np.round(keys)).any() or (keys < 0).any() or (keys >= KEYS).any():
        raise ValueError(f"a note is none from {LOWEST} to {LOWEST + KEYS - 1}")


def targets(notes: np.ndarray, steps: int) -> np.ndarray:
    """What is played at each of the first steps, (steps, 101) bool, columns as in `TARGETS`.

    Raises:
        ValueError: as `validate`.
    """
    validate(notes)
    truth = np.zeros((steps, TARGETS["onsets"].stop), dtype=bool)
    for onset, offset, note, _ in notes:
        # The middles, at (s + 0.5) steps, that lie in [onset, offset).
        first, last = (int(np.ceil(seconds / STEP - 0.5)) for seconds in (onset, offset))
        truth[first:last, int(note) - LOWEST] = True
        truth[first:last, KEYS + int(note) % CLASSES] = True
        begins = int(onset / STEP)
        if begins < steps:
            truth[begins, TARGETS["onsets"]] = True
    return truth


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Of all cells of two arrays of one shape, as one ranking; 0 to 1.

    Raises:
        ValueError: no cell is true.
    """
    scores, found = _ranked(scores, truth)
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # the last of each tie
    hits = found[ends]
    recall = hits / found[-1]
    return float((np.diff(recall, prepend=0.0) * hits / (ends + 1)).sum())


def best_threshold(scores: np.ndarray, truth: np.ndarray) -> float:
    """The score from which on a cell should be called true for the highest F1.

    Raises:
        ValueError: no cell is true.
    """
    scores, found = _ranked(scores, truth)
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    best = np.argmax(2 * found[ends] / (ends + 1 + found[-1]))
    return float(scores[ends[best]])


def f1(scores: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    """Of all cells; 0 to 1. Cells whose score is `threshold` or more are called true.

    Raises:
        ValueError: no cell is true.
    """
    if not truth.any():
        raise ValueError("nothing is played")
    called = scores >= threshold
    return float(2 * (called & truth).sum() / (called.sum() + truth.sum()))


def _ranked(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores from the highest on, (n,), and how many true cells there are up to each, (n,)."""
    if not truth.any():
        raise ValueError("nothing is played")
    order = np.argsort(-scores, axis=None, kind="stable")
    return scores.ravel()[order], np.cumsum(truth.ravel()[order])
