"""Motives that come back, in another key as well, and what is none."""

import numpy as np
import pytest

from audiolm.evaluation.metrics.motives import melody, recurrence

THEME = [60, 62, 64, 60, 67]


def tune(pitches, step=0.3, begin=0.0):
    return np.array(
        [(begin + step * n, begin + step * n + 0.2, p, 80) for n, p in enumerate(pitches)]
    ).reshape(-1, 4)


def test_the_melody_is_the_top_of_each_strike():
    notes = np.array([[0.02, 1, 48, 80], [0.0, 1, 72, 80], [0.5, 1, 60, 80], [0.54, 1, 50, 80]])
    assert melody(notes).tolist() == [[0.0, 72], [0.5, 60]]
    assert melody(np.zeros((0, 4))).shape == (0, 2)


def test_a_theme_comes_back_in_another_key():
    between = [59, 71, 50, 66, 49, 70]
    once = tune(THEME + between)
    twice = tune(THEME + between + [p + 5 for p in THEME])
    assert recurrence(once) == 0
    assert recurrence(twice) == pytest.approx(100 / 12)  # of 12 motives the last
    assert recurrence(twice, since=3.2) == 100  # it alone begins then; it was there before
    assert recurrence(twice, since=60) is None


def test_what_comes_back_at_once_is_one_figure():
    assert recurrence(tune(THEME * 2, step=0.1)) == 0
    assert recurrence(tune(THEME * 2, step=0.5)) > 0


def test_a_trill_is_no_motive():
    assert recurrence(tune([60, 62] * 20)) is None
    assert recurrence(tune([])) is None
