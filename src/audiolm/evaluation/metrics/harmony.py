"""Harmony of a passage by its notes: pitch classes, key, and how near two passages are in these.

Definition: a pitch-class distribution is how many notes begin on each of the twelve classes, as
shares. (Not how long they sound: where a note ends, transcribers and pedals disagree.) The key is
Krumhansl and Schmuckler's: of 24 keys the one whose probe-tone profile (Krumhansl and Kessler,
1982) correlates most with the distribution. Two keys are scored as in MIREX, by mir_eval.

Convention: notes are rows of onset and offset in seconds, MIDI note and velocity (n, 4). None where
a passage has no answer: no notes, or all classes alike.
"""

import numpy as np

from audiolm.evaluation.requirements import extra

CLASSES = 12
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
"""How well each class, counted from the tonic, fits a key (Krumhansl and Kessler, 1982)."""
PROFILES = {
    f"{NAMES[tonic]} {mode}": np.roll(profile, tonic)
    for mode, profile in (("major", MAJOR), ("minor", MINOR))
    for tonic in range(CLASSES)
}
"""By key, as mir_eval spells it: how well each class from C fits it."""


def pitch_classes(notes: np.ndarray) -> np.ndarray:
    """Share of the notes (n, 4) that begin on each class from C, (12,); zeros without notes."""
    counts = np.bincount(notes[:, 2].astype(int) % CLASSES, minlength=CLASSES)
    shares: np.ndarray = counts / max(1, counts.sum())
    return shares


def pitch_class_distance(first: np.ndarray, second: np.ndarray) -> float | None:
    """Jensen-Shannon distance (Endres and Schindelin, 2003) of two passages' pitch classes.

    The square root of the divergence in bits: 0 for the same distribution, 1 where no class is
    in both.
    """
    if not len(first) or not len(second):
        return None
    p, q = pitch_classes(first), pitch_classes(second)
    middle = (p + q) / 2
    divergence = 0.5 * (_divergence(p, middle) + _divergence(q, middle))
    return float(np.sqrt(max(0.0, divergence)))


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    there = p > 0
    return float((p[there] * np.log2(p[there] / q[there])).sum())


def key(notes: np.ndarray) -> str | None:
    """The key of a passage: `C major`, `F# minor`."""
    fits = {name: correlation(notes, name) for name in PROFILES}
    known = {name: fit for name, fit in fits.items() if fit is not None}
    return max(known, key=lambda name: known[name]) if known else None


def correlation(notes: np.ndarray, name: str) -> float | None:
    """Correlation of a passage's pitch classes with the profile of a key, -1 to 1."""
    shares = pitch_classes(notes)
    if shares.max() == shares.min():
        return None
    return float(np.corrcoef(shares, PROFILES[name])[0, 1])


def key_score(first: np.ndarray, second: np.ndarray) -> float | None:
    """How near the keys of two passages are (MIREX, by mir_eval).

    1 for the same key, 0.5 where the second's is a fifth above the first's, 0.3 for its relative,
    0.2 for its parallel key, else 0.

    Raises:
        Skipped: without mir_eval.
    """
    keys = key(first), key(second)
    if keys[0] is None or keys[1] is None:
        return None
    return float(extra("mir_eval.key").weighted_score(*keys))


def key_fit(first: np.ndarray, second: np.ndarray) -> float | None:
    """Correlation of the second passage's pitch classes with the profile of the first's key."""
    name = key(first)
    return None if name is None else correlation(second, name)
