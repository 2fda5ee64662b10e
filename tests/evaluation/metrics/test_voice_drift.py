"""Voice second by second."""

import pytest
import torch

from audiolm.evaluation.metrics.voice_drift import evaluate


def test_a_voice_that_drifts_away():
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    embeddings = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, -3.0]])
    found = evaluate(probabilities, embeddings, torch.tensor([1.0, 0.0]), speaker=0)
    assert found["accuracy"] == [1, 1, 0]
    assert found["cosine"] == pytest.approx([1, 0.5**0.5, 0])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="differ"):
        evaluate(torch.ones(2, 2), torch.ones(3, 4), torch.ones(4), 0)
    with pytest.raises(ValueError, match="differ"):
        evaluate(torch.ones(2, 2), torch.ones(2, 4), torch.ones(3), 0)
