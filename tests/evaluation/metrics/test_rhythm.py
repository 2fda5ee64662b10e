"""Strikes, regularity and tempo of rhythms that are made by rule."""

import numpy as np
import pytest

from audiolm.evaluation.metrics.rhythm import regularity, same_tempo, strikes, tempo


def played(onsets):
    return np.array([(t, t + 0.1, 60, 80) for t in onsets]).reshape(-1, 4)


def clock(period, seconds=8.0, begin=0.0):
    return played(np.arange(begin, begin + seconds, period))


def test_notes_within_50_ms_are_one_strike():
    assert strikes(played([1.0, 0.03, 0.0, 0.049, 0.051])).tolist() == [0.0, 0.051, 1.0]
    assert strikes(played([])).tolist() == []


def test_a_clock_is_regular_and_chance_is_not():
    draw = np.random.default_rng(0)
    assert regularity(clock(0.5)) > 0.95
    assert regularity(clock(0.25, begin=3.1)) > 0.95
    shaken = played(np.arange(0, 8, 0.5) + draw.normal(0, 0.02, 16))
    by_chance = [regularity(played(np.sort(draw.uniform(0, 8, 16)))) for _ in range(20)]
    assert np.mean(by_chance) < regularity(shaken) < regularity(clock(0.5))
    assert np.mean(by_chance) < 0.5
    assert regularity(played([0, 1, 2, 3])) == 0


@pytest.mark.parametrize("period", [0.4, 0.5, 0.6, 0.75])
def test_the_tempo_is_that_of_the_clock(period):
    assert tempo(clock(period)) == pytest.approx(60 / period, rel=0.02)
    assert tempo(played([0, 1])) is None


def test_a_tempo_is_the_same_at_another_level():
    slow = clock(0.6)
    assert same_tempo(slow, clock(0.62)) == 1
    assert same_tempo(slow, clock(0.3)) == 1
    assert same_tempo(slow, clock(0.45)) == 0
    assert same_tempo(slow, played([])) is None
