"""Pitch classes, keys and their distances against what music theory and plain loops say."""

import math

import numpy as np
import pytest

from audiolm.evaluation.metrics.harmony import (
    correlation,
    key,
    key_fit,
    key_score,
    pitch_class_distance,
    pitch_classes,
)

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)


def played(pitches):
    return np.array([(0.1 * n, 0.1 * n + 0.2, p, 80) for n, p in enumerate(pitches)]).reshape(-1, 4)


def cadence(tonic, mode=MAJOR):
    """A scale, and tonic and dominant triads again and again."""
    triads = [mode[i] for i in (0, 2, 4, 4, 6, 1)] * 2
    return played([60 + tonic + step for step in (*mode, *triads, 0, 0)])


def test_shares_of_the_twelve_classes():
    shares = pitch_classes(played([60, 72, 64, 67]))
    assert shares.tolist() == [0.5, 0, 0, 0, 0.25, 0, 0, 0.25, 0, 0, 0, 0]
    assert pitch_classes(played([])).tolist() == [0] * 12


def test_the_distance_is_that_of_jensen_and_shannon():
    first, second = played([60, 60, 64, 67]), played([60, 62, 67, 67, 69])
    p, q = pitch_classes(first), pitch_classes(second)
    divergence = 0.0
    for one, other in ((p, q), (q, p)):
        for a, b in zip(one, other, strict=True):
            if a > 0:
                divergence += 0.5 * a * math.log2(a / ((a + b) / 2))
    assert pitch_class_distance(first, second) == pytest.approx(math.sqrt(divergence))
    assert pitch_class_distance(first, first) == 0
    assert pitch_class_distance(played([60]), played([61])) == pytest.approx(1)
    assert pitch_class_distance(played([]), first) is None


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize("mode", [MAJOR, MINOR])
def test_every_key_is_told(tonic, mode):
    name = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"][tonic]
    assert key(cadence(tonic, mode)) == f"{name} {'major' if mode is MAJOR else 'minor'}"


def test_keys_are_scored_as_in_mirex():
    pytest.importorskip("mir_eval")
    c = cadence(0)
    assert key_score(c, cadence(0)) == 1
    assert key_score(c, cadence(7)) == 0.5  # a fifth up
    assert key_score(c, cadence(9, MINOR)) == 0.3  # relative
    assert key_score(c, cadence(0, MINOR)) == 0.2  # parallel
    assert key_score(c, cadence(6)) == 0
    assert key_score(c, played([])) is None


def test_the_fit_is_to_the_first_passages_key():
    c = cadence(0)
    assert key_fit(c, c) == pytest.approx(correlation(c, "C major"))
    assert key_fit(c, cadence(7)) > 0.2 > key_fit(c, cadence(6))
    assert key_fit(played([]), c) is None
    assert key_fit(c, played(range(60, 72))) is None  # all classes alike: no key
