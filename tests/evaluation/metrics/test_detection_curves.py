"""AUC, EER, minDCF, Cllr against slow ones."""

import math

import numpy as np
import pytest

from audiolm.evaluation.metrics.detection import (
    area_under_curve,
    cllr,
    curves,
    equal_error_rate,
    min_dcf,
)

DRAW = np.random.default_rng(1)
CASES = [
    (DRAW.normal(-1, 1, 40), DRAW.normal(1, 1, 30)),
    (np.array([0.0, 0.0, 1.0, 2.0]), np.array([0.0, 1.0, 3.0])),  # ties
    (np.array([-2.0, -1.0]), np.array([1.0, 5.0, 6.0])),  # apart
    (np.array([3.0]), np.array([-3.0])),  # the wrong way round
]


def rates(real, synthetic):
    """(wrong, missed) at every threshold, counted one by one."""
    for threshold in [*sorted({*real, *synthetic}), math.inf]:
        wrong = sum(s >= threshold for s in real) / len(real)
        missed = sum(s < threshold for s in synthetic) / len(synthetic)
        yield wrong, missed


@pytest.mark.parametrize(("real", "synthetic"), CASES)
def test_they_are_what_one_counts(real, synthetic) -> None:
    pairs = [(r, s) for r in real for s in synthetic]
    wanted = sum(1.0 if s > r else 0.5 if s == r else 0.0 for r, s in pairs) / len(pairs)
    assert area_under_curve(real, synthetic) == pytest.approx(wanted)
    nearest = min(rates(real, synthetic), key=lambda pair: abs(pair[0] - pair[1]))
    assert equal_error_rate(real, synthetic) == pytest.approx(sum(nearest) / 2)
    costs = [1 * 0.95 * wrong + 10 * 0.05 * missed for wrong, missed in rates(real, synthetic)]
    assert min_dcf(real, synthetic) == pytest.approx(min(costs) / 0.5)
    bits = (
        [math.log2(1 + math.exp(s)) for s in real],
        [math.log2(1 + math.exp(-s)) for s in synthetic],
    )
    assert cllr(real, synthetic) == pytest.approx(sum(map(np.mean, bits)) / 2)


def test_known_values() -> None:
    apart, same = CASES[2], (np.zeros(5), np.zeros(5))
    assert (area_under_curve(*apart), equal_error_rate(*apart), min_dcf(*apart)) == (1, 0, 0)
    assert area_under_curve(*same) == 0.5
    assert cllr(*same) == pytest.approx(1.0)  # no answer at all
    assert min_dcf(*same) == pytest.approx(1.0)


def test_intervals_are_over_speakers() -> None:
    real, synthetic = CASES[0]
    one = curves(real, synthetic, ["a"] * 40, ["a"] * 30, seed=0, rounds=20)
    assert one["eer"].low == one["eer"].value == one["eer"].high
    assert "one speaker" in one["eer"].note
    many = curves(
        real,
        synthetic,
        [str(n % 8) for n in range(40)],
        [str(n % 8) for n in range(30)],
        seed=0,
        rounds=100,
    )
    assert many["eer"].low < many["eer"].value < many["eer"].high
    assert many["auc"].value == pytest.approx(100 * area_under_curve(real, synthetic))
    assert many["auc"].unit == "%" and many["auc"].count == 70


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="curves need"):
        curves([], [1.0], [], ["a"], seed=0)
