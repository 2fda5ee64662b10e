"""Found notes beside played ones: counted by hand."""

import numpy as np
import pytest

from audiolm.evaluation.metrics.transcription import evaluate

pytest.importorskip("mir_eval")
PLAYED = np.array(
    [[0.0, 0.5, 60, 40], [0.5, 1.0, 62, 60], [1.0, 1.5, 64, 80], [1.5, 2.0, 65, 100]], dtype=float
)


def test_all_of_them():
    found = PLAYED + np.array([0.049, -0.3, 0, 3])  # where they end does not matter
    result = evaluate(PLAYED, found)
    assert result == {"precision": 100, "recall": 100, "f1": 100, "velocity": pytest.approx(1)}


def test_some_of_them():
    found = PLAYED[[0, 0, 1, 2]].copy()  # one twice, and one not at all
    found[2, 2] += 1  # another pitch
    found[3, :2] += 0.06  # too late
    result = evaluate(PLAYED, found)
    assert (result["precision"], result["recall"], result["f1"]) == (25, 25, 25)
    assert result["velocity"] is None


def test_nothing_played_or_found():
    nothing = np.zeros((0, 4))
    assert evaluate(PLAYED, nothing) == {
        "precision": None,
        "recall": 0,
        "f1": 0,
        "velocity": None,
    }
    assert evaluate(nothing, PLAYED)["f1"] is None
    instant = PLAYED.copy()
    instant[:, 1] = instant[:, 0]
    assert evaluate(instant, instant)["f1"] == 100
