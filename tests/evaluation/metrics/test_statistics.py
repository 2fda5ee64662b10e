"""Intervals: that they cover what they should, and that items of one speaker count as one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiolm.evaluation.metrics.statistics import (
    binomial_test,
    clopper_pearson,
    mean_metric,
    mean_of_known,
    proportion_metric,
    ratio_metric,
    wilson,
)


def test_a_ratio_is_of_the_sums():
    metric = ratio_metric([1, 3], [10, 10], unit="%", scale=100, note="errors", paper=2.5)
    assert metric.value == pytest.approx(20)
    assert (metric.count, metric.unit, metric.note, metric.paper) == (2, "%", "errors", 2.5)
    assert 10 <= metric.low <= metric.value <= metric.high <= 30


def test_the_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(1).standard_normal(400)
    metric = mean_metric(values.tolist(), unit="")
    half = 1.96 * values.std() / math.sqrt(400)
    assert metric.value == pytest.approx(values.mean())
    assert metric.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert metric.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        metric = mean_metric(generator.standard_normal(40).tolist(), unit="")
        covered += metric.low <= 0 <= metric.high
    assert 0.89 <= covered / 200 <= 0.99


def test_utterances_of_one_speaker_are_one_observation():
    by_speaker = np.random.default_rng(3).standard_normal(10)
    values, speakers = np.repeat(by_speaker, 50).tolist(), np.repeat(range(10), 50).tolist()
    naive, right = mean_metric(values, unit=""), mean_metric(values, speakers, unit="")
    assert right.value == naive.value
    # 50 copies of each speaker say no more than one: the width is that of 10 observations.
    alone = mean_metric(by_speaker.tolist(), unit="")
    assert right.high - right.low == pytest.approx(alone.high - alone.low)
    assert right.high - right.low > 5 * (naive.high - naive.low)


def test_a_single_speaker_is_said_to_be_one():
    metric = mean_metric([0.0, 1.0, 2.0], ["a", "a", "a"], unit="", note="of words")
    assert metric.note == "of words; one speaker only: interval over items"
    assert metric.low < metric.high


def test_one_seed_gives_one_interval():
    values = list(range(20))
    assert mean_metric(values, unit="", seed=4) == mean_metric(values, unit="", seed=4)
    assert mean_metric(values, unit="", seed=4) != mean_metric(values, unit="", seed=5)


@pytest.mark.parametrize("denominators", [[], [0.0, 0.0]])
def test_nothing_has_no_metric(denominators):
    with pytest.raises(ValueError, match="needs items"):
        ratio_metric([0.0] * len(denominators), denominators, unit="")


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # From Newcombe (1998), Table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_the_published_ones(successes, trials, low, high):
    assert wilson(successes, trials) == (
        pytest.approx(low, abs=1e-4),
        pytest.approx(high, abs=1e-4),
    )


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # From Newcombe (1998), Table I, method 5.
    [
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_exact_intervals_are_the_published_ones(successes, trials, low, high):
    expected = (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert clopper_pearson(successes, trials) == expected
    mirrored = clopper_pearson(trials - successes, trials)
    assert (1 - mirrored[1], 1 - mirrored[0]) == expected


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_intervals_hold_the_share_and_stay_in_range(outcome):
    low, high = wilson(*outcome)
    assert 0 <= low <= outcome[0] / outcome[1] <= high <= 1


def test_a_proportion_is_in_percent():
    metric = proportion_metric(15, 148, note="raters", paper=51.2)
    assert metric.value == pytest.approx(100 * 15 / 148)
    assert (metric.low, metric.high) == (
        pytest.approx(6.24, abs=0.01),
        pytest.approx(16.05, abs=0.01),
    )
    assert (metric.count, metric.unit, metric.paper) == (148, "%", 51.2)


def test_items_without_an_answer_are_left_out():
    known = mean_of_known([1.0, None, 3.0, 0.0], ["a", "a", "b", "b"], unit="s")
    assert known == mean_metric([1.0, 3.0, 0.0], ["a", "b", "b"], unit="s")
    assert mean_of_known([None, None], ["a", "b"], unit="s") is None


@pytest.mark.parametrize(
    ("successes", "trials", "chance", "p"),
    [
        (5, 10, 0.5, 1.0),
        (0, 10, 0.5, 2 / 1024),
        (10, 10, 0.5, 2 / 1024),
        (8, 10, 0.5, 2 * (45 + 10 + 1) / 1024),
        (0, 3, 0.1, 1.0),
        (2, 3, 0.1, 3 * 0.01 * 0.9 + 0.001),
    ],
)
def test_the_binomial_test_is_exact(successes, trials, chance, p):
    assert binomial_test(successes, trials, chance) == pytest.approx(p)


def test_the_listening_test_of_the_paper():
    # Section IV-G: 51.2 % of 1000 answers were right, p = 0.23 by the authors' one-sided test.
    assert binomial_test(512, 1000) / 2 == pytest.approx(0.23, abs=0.01)


@pytest.mark.parametrize(("successes", "trials"), [(2, 1), (-1, 3), (0, 0)])
def test_impossible_outcomes_are_refused(successes, trials):
    for interval in (wilson, clopper_pearson):
        with pytest.raises(ValueError, match="cannot be"):
            interval(successes, trials)
