"""Rhythm of a passage by its notes: strikes, how regularly they come, and tempo.

Definition: notes that begin within 50 ms of the first of them are one strike (a chord, or a note
alone). Regularity is the highest autocorrelation of the strikes at a distance of 0.2 to 1.5 s: 1 if
they come like a clock's, about 0 if they come at random. Tempo is the distance with the highest
autocorrelation once each is weighted by how readily people tap it: a bell over the logarithm of
time around 0.5 s, as wide as Ellis (2007) has it.

Convention: notes are rows of onset and offset in seconds, MIDI note and velocity (n, 4), times
counted from the beginning of the passage.
"""

import numpy as np

TOGETHER = 0.05
"""Seconds; also what mir_eval allows an onset to be off."""
RATE = 100
"""Steps a second at which strikes are compared with themselves."""
WIDTH = 0.02
"""Seconds: standard deviation of the bell that stands for a strike."""
NEAREST, FARTHEST = 0.2, 1.5
"""Seconds between strikes that are compared: 300 to 40 a minute."""
TAPPED, OCTAVES = 0.5, 0.9
"""Seconds that people tap most readily, and how many octaves around it they do (Ellis, 2007)."""
FEWEST = 5
"""Strikes without which there is neither regularity nor tempo."""
TOLERANCE = 0.08
"""Share that a tempo may be off (mir_eval.tempo)."""
MULTIPLES = (1 / 3, 1 / 2, 1.0, 2.0, 3.0)
"""What counts as the same tempo, felt at another level (Gouyon and others, 2006: accuracy 2)."""


def strikes(notes: np.ndarray) -> np.ndarray:
    """When each chord or single note begins, (n,) seconds, in order."""
    found: list[float] = []
    for onset in np.sort(notes[:, 0]):
        if not found or onset - found[-1] > TOGETHER:
            found.append(float(onset))
    return np.array(found)


def autocorrelation(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Distances (n,) in seconds and the correlation of the strikes with themselves at each, (n,).

    None where there are fewer than five strikes.
    """
    times = strikes(notes)
    if len(times) < FEWEST:
        return None
    grid = np.arange(round((times[-1] - times[0] + 6 * WIDTH) * RATE)) / RATE - 3 * WIDTH
    distances = grid[:, None] - (times - times[0])  # (steps, strikes)
    train = np.exp(-0.5 * (distances / WIDTH) ** 2).sum(axis=1)  # (steps,)
    train -= train.mean()
    lags = np.arange(round(NEAREST * RATE), min(round(FARTHEST * RATE), len(train) // 2) + 1)
    if not len(lags):
        return None
    # A longer distance has fewer steps to compare; each is a mean over those that it has.
    power = float(train @ train) / len(train)
    values = [float(train[lag:] @ train[:-lag]) / (len(train) - lag) / power for lag in lags]
    return lags / RATE, np.array(values)


def regularity(notes: np.ndarray) -> float:
    """The highest autocorrelation, at most 1; 0 where there are too few strikes."""
    found = autocorrelation(notes)
    return 0.0 if found is None else float(np.clip(found[1].max(), 0.0, 1.0))


def tempo(notes: np.ndarray) -> float | None:
    """Beats a minute; None where there are too few strikes."""
    found = autocorrelation(notes)
    if found is None:
        return None
    distances, values = found
    readiness = np.exp(-0.5 * (np.log2(distances / TAPPED) / OCTAVES) ** 2)
    return 60 / float(distances[np.argmax(values * readiness)])


def same_tempo(first: np.ndarray, second: np.ndarray) -> float | None:
    """1 if two passages have the same tempo within 8 %, or its double, triple, half or third."""
    tempi = tempo(first), tempo(second)
    if tempi[0] is None or tempi[1] is None:
        return None
    ratio = tempi[1] / tempi[0]
    return float(any(abs(ratio / multiple - 1) <= TOLERANCE for multiple in MULTIPLES))
