"""Motives: does what was played come back?

Definition: the melody is the highest note of each strike (`rhythm.strikes`). A motive is five notes
of it in a row, known by their four intervals, so that a motive comes back in whatever key; of fewer
than three different notes (a trill, a repeated note) none is made. A motive comes back if the same
one began at least two seconds before.

Convention: notes are rows of onset and offset in seconds, MIDI note and velocity (n, 4).
"""

import numpy as np

from audiolm.evaluation.metrics.rhythm import TOGETHER

LENGTH = 5
"""Notes of a motive."""
DIFFERENT = 3
"""Of these at least."""
APART = 2.0
"""Seconds from one appearance to the next, at least: nearer, it is one figure that goes on."""


def melody(notes: np.ndarray) -> np.ndarray:
    """The highest note of each strike: rows of onset and MIDI note, (n, 2), in order."""
    found: list[tuple[float, float]] = []
    for onset, _, pitch, _ in notes[np.argsort(notes[:, 0], kind="stable")]:
        if found and onset - found[-1][0] <= TOGETHER:
            found[-1] = (found[-1][0], max(found[-1][1], pitch))
        else:
            found.append((float(onset), float(pitch)))
    return np.array(found).reshape(-1, 2)


def recurrence(notes: np.ndarray, since: float = 0.0) -> float | None:
    """Percent of the motives that begin at `since` seconds or later and have been there before.

    They may have been there before `since`, so that a continuation may take up what its prompt
    plays. None where no motive begins from `since` on.
    """
    tune = melody(notes)
    first: dict[tuple[int, ...], float] = {}
    came_back = []
    for begin in range(len(tune) - LENGTH + 1):
        onset, pitches = tune[begin, 0], tune[begin : begin + LENGTH, 1]
        if len(set(pitches)) < DIFFERENT:
            continue
        before = first.setdefault(tuple(np.diff(pitches).astype(int)), onset)
        if onset >= since:
            came_back.append(onset - before >= APART)
    return 100 * float(np.mean(came_back)) if came_back else None
