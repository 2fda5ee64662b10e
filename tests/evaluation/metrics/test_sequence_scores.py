"""Which of a pair is likelier."""

import math

import pytest

from audiolm.evaluation.metrics.sequence_scores import Likelihood, bits, evaluate


def test_by_length_and_without():
    longer, shorter = Likelihood(-6, 6), Likelihood(-5, 4)  # -1 a token against -1.25
    assert evaluate(longer, shorter) == {"preference": 1, "preference.not_normalised": 0}
    assert evaluate(shorter, longer) == {"preference": 0, "preference.not_normalised": 1}
    assert evaluate(longer, longer) == {"preference": 0.5, "preference.not_normalised": 0.5}


def test_bits_are_nats_by_log_two():
    assert bits(math.log(0.25)) == pytest.approx(2)


@pytest.mark.parametrize(("nats", "tokens"), [(1.0, 2), (math.nan, 2), (-1.0, -1)])
def test_what_is_no_likelihood_is_refused(nats, tokens):
    with pytest.raises(ValueError, match="cannot be"):
        evaluate(Likelihood(nats, tokens), Likelihood(-1, 1))
