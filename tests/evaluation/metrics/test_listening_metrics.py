"""How often raters are right, and how likely that is by chance."""

import pytest

from audiolm.evaluation.metrics.listening import Answer, at_least, evaluate

REAL = "original-or-synthetic"
RIGHT = {"1a": "original", "2b": "synthetic", "3c": "synthetic"}


def test_success_is_counted_in_all_and_by_truth():
    said = {"1a": ["original", "synthetic"], "2b": ["synthetic"] * 2, "3c": ["original"] * 2}
    answers = [
        Answer(REAL, f"r{n}", item, a) for item, two in said.items() for n, a in enumerate(two)
    ]
    metrics = evaluate(answers, RIGHT, seed=0)
    assert metrics["all"].value == pytest.approx(50)
    assert metrics["all"].count == 6
    assert metrics["original"].value == 50
    assert metrics["synthetic"].value == 50
    # Clips differ from each other, raters hardly do.
    assert (metrics["over_items"].low, metrics["over_items"].high) == (0, 100)
    assert metrics["over_raters"].low >= 30
    assert metrics["over_raters"].value == pytest.approx(50)


def test_the_papers_p_is_one_sided():
    assert at_least(512, 1000) == pytest.approx(0.23, abs=0.005)
    assert at_least(0, 10) == 1
    assert at_least(10, 10) == 2**-10
    assert at_least(2, 3) == 0.5


def test_answers_without_a_key_are_refused():
    with pytest.raises(ValueError, match="no right answer to 9z"):
        evaluate([Answer(REAL, "r", "9z", "original")], RIGHT, seed=0)
    with pytest.raises(ValueError, match="no answers"):
        evaluate([], RIGHT, seed=0)
