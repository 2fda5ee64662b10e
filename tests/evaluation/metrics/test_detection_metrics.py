"""What a detector's probabilities come to."""

import pytest

from audiolm.evaluation.metrics.detection import evaluate


def values(metrics):
    return {name: metric.value for name, metric in metrics.items()}


def test_a_detector_that_is_always_right():
    metrics = evaluate([0.1, 0.2], [0.9, 0.8], ["a", "b"], 0.5, seed=0)
    assert values(metrics) == {
        "balanced_accuracy": 100,
        "synthetic_found": 100,
        "real_passed": 100,
        "ranked": 100,
    }
    assert metrics["balanced_accuracy"].paper == 98.6


def test_a_detector_that_says_the_same_of_everything_is_at_chance():
    metrics = evaluate([0.7, 0.7], [0.7, 0.7], ["a", "b"], 0.5, seed=0)
    assert values(metrics) == {
        "balanced_accuracy": 50,
        "synthetic_found": 100,
        "real_passed": 0,
        "ranked": 50,
    }


def test_the_threshold_counts_as_synthetic():
    metrics = evaluate([0.4, 0.9], [0.8, 0.6], ["a", "b"], 0.8, seed=0)
    assert values(metrics) == {
        "balanced_accuracy": 50,
        "synthetic_found": 50,
        "real_passed": 50,
        "ranked": 50,
    }


@pytest.mark.parametrize(("real", "synthetic"), [([], []), ([0.1], [0.2, 0.3]), ([0.1], [1.2])])
def test_what_are_no_pairs_of_probabilities_is_refused(real, synthetic):
    with pytest.raises(ValueError, match=r"equally many|from 0 to 1"):
        evaluate(real, synthetic, ["a"] * len(real), 0.5, seed=0)
