"""What is played at each step, and how well scores say so: against plain counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.evaluation.metrics.notes import (
    TARGETS,
    average_precision,
    best_threshold,
    f1,
    targets,
)

RANKED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30).filter(
    lambda cells: any(true for _, true in cells)
)
"""Scores with many ties, and what is true."""


def arrays(cells):
    return np.array([score for score, _ in cells], float), np.array([true for _, true in cells])


def test_keys_sound_at_the_middle_of_a_step_and_onsets_count_in_theirs():
    notes = np.array([[0.0, 0.07, 21, 90], [0.05, 0.061, 33, 90], [0.119, 0.2, 108, 1]])
    truth = targets(notes, 4)  # middles at 0.02, 0.06, 0.1 and 0.14
    keys, classes, onsets = (truth[:, columns] for columns in TARGETS.values())
    assert np.argwhere(keys).tolist() == [[0, 0], [1, 0], [1, 12], [3, 87]]
    assert np.argwhere(classes).tolist() == [[0, 9], [1, 9], [3, 0]]  # both A, then C
    assert onsets[:, 0].tolist() == [True, True, True, False]


def test_notes_after_the_last_step_are_left_out():
    truth = targets(np.array([[0.0, 9.0, 60, 90], [5.0, 6.0, 61, 90]]), 2)
    assert truth.shape == (2, 101)
    assert truth.sum() == 2 + 2 + 1


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ([1.0, 0.5, 60, 9], "ends before it begins"),
        ([-1.0, 0.5, 60, 9], "ends before it begins, or has no time"),
        ([0.0, np.nan, 60, 9], "has no time"),
        ([0.0, 0.5, 109, 9], "none from 21 to 108"),
        ([0.0, 0.5, 60.5, 9], "none from 21 to 108"),
        ([0.0, 0.5, 60], "four columns"),
    ],
)
def test_what_are_no_notes_is_refused(note, said):
    with pytest.raises(ValueError, match=said):
        targets(np.array([note]), 5)


@settings(max_examples=60, deadline=None)
@given(RANKED)
def test_average_precision_is_the_mean_of_the_precision_at_each_true_cell(cells):
    scores, truth = arrays(cells)
    precisions = []
    for score, true in cells:
        if true:
            called = [t for s, t in cells if s >= score]
            precisions.append(sum(called) / len(called))
    assert average_precision(scores, truth) == pytest.approx(np.mean(precisions))
    assert average_precision(scores[:, None], truth[:, None]) == average_precision(scores, truth)


@settings(max_examples=60, deadline=None)
@given(RANKED)
def test_no_threshold_is_better_than_the_best(cells):
    scores, truth = arrays(cells)

    def plain(threshold):
        hits = sum(s >= threshold and t for s, t in cells)
        called = sum(s >= threshold for s, _ in cells)
        if not hits:
            return 0.0
        precision, recall = hits / called, hits / truth.sum()
        return 2 * precision * recall / (precision + recall)

    for threshold in range(8):
        assert f1(scores, truth, threshold) == pytest.approx(plain(threshold))
    best = f1(scores, truth, best_threshold(scores, truth))
    assert best == pytest.approx(max(plain(threshold) for threshold in range(8)))


def test_where_nothing_is_played_there_is_nothing_to_find():
    nothing = np.zeros(3, dtype=bool)
    for measure in (average_precision, best_threshold, lambda s, t: f1(s, t, 0.5)):
        with pytest.raises(ValueError, match="nothing is played"):
            measure(np.ones(3), nothing)
