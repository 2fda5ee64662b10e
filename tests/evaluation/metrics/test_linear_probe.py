"""The linear probe: it finds what is linear, at any scale; of ids it is a frequency."""

import numpy as np
import pytest

from audiolm.evaluation.metrics.linear_probe import LinearProbe, one_hot


def test_what_is_linear_is_found_at_any_scale_and_in_any_batches():
    draw = np.random.default_rng(0)
    features = draw.standard_normal((400, 5)) * [1, 1e-3, 1e3, 1, 1]
    truth = features @ np.array([[1, 0], [500, 0], [0, 1e-3], [0, 0], [0, 1]]) + [0.5, -2]
    probe = LinearProbe([(features[:150], truth[:150]), (features[150:], truth[150:])])
    assert probe.scores(features) == pytest.approx(truth, abs=0.05)
    whole = LinearProbe([(features, truth)])
    assert whole.weights == pytest.approx(probe.weights, rel=1e-6)


def test_of_ids_it_is_the_frequency_of_each_target():
    ids = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    truth = np.array([[1], [1], [1], [0], [0], [0], [0], [1]], dtype=bool)
    probe = LinearProbe([(one_hot(ids, 3), truth)])  # id 2 is never seen
    scores = probe.scores(one_hot(np.array([0, 1, 2]), 3))[:, 0]
    assert scores[:2] == pytest.approx([0.75, 0.25], abs=0.01)
    assert np.isfinite(scores[2])


def test_of_features_that_say_nothing_it_is_the_mean():
    truth = np.array([[1, 0], [0, 0], [0, 0], [0, 1]], dtype=bool)
    probe = LinearProbe([(np.zeros((4, 2)), truth)])
    assert probe.scores(np.zeros((1, 2)))[0] == pytest.approx([0.25, 0.25])


def test_without_a_batch_there_is_no_probe():
    with pytest.raises(ValueError, match="at least one batch"):
        LinearProbe([])
