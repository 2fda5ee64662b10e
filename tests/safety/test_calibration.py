"""Scores to probabilities and thresholds."""

import numpy as np
import pytest

from audiolm.errors import ConfigurationError
from audiolm.safety.calibration import (
    FALSE_ALARMS,
    calibrated,
    calibration_for,
    checked_false_alarms,
    platt,
)

DRAW = np.random.default_rng(0)
YES, NO = DRAW.normal(2.0, 1.5, 300), DRAW.normal(-1.0, 1.0, 2000)


def entropy(scale: float, offset: float, yes: np.ndarray, no: np.ndarray) -> float:
    """Cross-entropy with Platt's targets, both classes alike, term by term."""
    total = 0.0
    for scores, target in ((yes, (len(yes) + 1) / (len(yes) + 2)), (no, 1 / (len(no) + 2))):
        for score in scores:
            p = 1 / (1 + np.exp(-(scale * score + offset)))
            total -= (target * np.log(p) + (1 - target) * np.log(1 - p)) / (2 * len(scores))
    return total


def test_no_line_nearby_fits_better() -> None:
    scale, offset = platt(YES, NO)
    best = entropy(scale, offset, YES, NO)
    for more in (-0.02, 0.02):
        assert entropy(scale + more, offset, YES, NO) > best
        assert entropy(scale, offset + more, YES, NO) > best


def test_unlike_numbers_of_both_classes_do_not_move_the_middle() -> None:
    few, many = DRAW.normal(1, 1, 4000), DRAW.normal(-1, 1, 400)
    scale, offset = platt(few, many)
    assert abs(offset) < 0.2  # scores of 0 are even odds
    assert 1.6 < scale < 2.4  # of these normal distributions the log-odds are 2 x


def test_classes_that_do_not_overlap_have_a_finite_line() -> None:
    scale, offset = platt(np.array([5.0, 6.0]), np.array([-5.0, -6.0]))
    assert 0 < scale < 10 and np.isfinite(offset)


def test_scores_that_say_the_wrong_way_round_say_nothing() -> None:
    scale, _ = platt(NO, YES)
    assert scale == pytest.approx(1e-3)


def test_thresholds_let_no_more_through_than_stated() -> None:
    found = calibrated(YES, NO, 1.0)
    odds = np.array([found.log_odds(score) for score in NO])
    for rate in (0.1, 0.05, 0.02, 0.01, 0.005):
        alarms = (odds >= found.threshold(rate)).mean()
        assert rate - 1 / len(NO) <= alarms <= rate
    assert list(found.thresholds) == sorted(found.thresholds)


def test_rates_that_nothing_was_heard_for_are_above_all_that_was_heard() -> None:
    few = NO[:50]
    found = calibrated(YES, few, 1.0)
    highest = max(found.log_odds(score) for score in few)
    assert found.threshold(0.01) > highest
    assert found.threshold(1e-5) > found.threshold(0.001) > found.threshold(0.01)
    assert found.negatives == 50


def test_rates_in_between_are_interpolated() -> None:
    found = calibrated(YES, NO, 1.0)
    assert found.threshold(0.02) < found.threshold(0.015) < found.threshold(0.01)
    assert found.threshold(FALSE_ALARMS[-1] / 100) == found.threshold(FALSE_ALARMS[-1])


def test_the_calibration_of_the_longest_that_is_no_longer_is_taken() -> None:
    one, three = calibrated(YES, NO, 1.0), calibrated(YES, NO, 3.0)
    chosen = {seconds: calibration_for([three, one], seconds) for seconds in (0.5, 1, 2.9, 3, 60)}
    assert [chosen[s].seconds for s in (0.5, 1, 2.9, 3, 60)] == [1, 1, 1, 3, 3]


@pytest.mark.parametrize("rate", [0.0, 0.2, -1, float("nan"), "0.01", True, None])
def test_what_is_no_rate_is_refused(rate) -> None:
    with pytest.raises(ConfigurationError, match=r"false_alarms: .* give 0\.001 to 0\.1"):
        checked_false_alarms(rate)


def test_numbers_of_numpy_are_rates() -> None:
    assert checked_false_alarms(np.float32(0.0625)) == 0.0625


def test_both_classes_are_needed() -> None:
    with pytest.raises(ValueError, match="both classes"):
        calibrated(YES, np.zeros(0), 1.0)
