"""From a detector's scores to probabilities, and to verdicts at a stated rate of false alarms.

A score is a mean of log-odds over windows. How much it means depends on how much was heard, so
there is a calibration for each of several lengths. Probabilities are Platt's (1999): a line through
the scores, fitted by logistic regression on sound that was not trained on, both classes counting
the same. Thresholds are quantiles of the scores of sound that the model did not make.
"""

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError

Scores = NDArray[np.float64]

FALSE_ALARMS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 1e-4, 1e-5)
"""The rates whose thresholds are kept; those in between are interpolated."""
HIGHEST, LOWEST = 0.1, 0.001
"""What may be asked for. Lower rates are kept because one answer may take several looks."""
SEEN = 2
"""False alarms that must have been seen for a quantile to be taken as it is."""
Z = (1.2816, 1.6449, 2.0537, 2.3263, 2.5758, 2.8782, 3.0902, 3.7190, 4.2649)
"""What a normal distribution passes that often, in standard deviations."""


class Calibration(Configuration):
    """What the scores of sound of one length mean."""

    seconds: float = Field(gt=0)
    """How much sound a score was the mean of."""
    scale: float = Field(gt=0)
    """Factor from a score to the logarithm of the odds."""
    offset: float
    """What is added to it."""
    negatives: int = Field(gt=0)
    """Pieces that the model did not make, on which the thresholds rest. Rates at which fewer than
    two of them would be false alarms are extrapolated: a normal distribution's tail, and no lower
    than the highest score among them."""
    thresholds: tuple[float, ...]
    """Log-odds from which on there are `FALSE_ALARMS`, rate by rate."""

    @model_validator(mode="after")
    def _one_threshold_per_rate(self) -> Self:
        if len(self.thresholds) != len(FALSE_ALARMS):
            raise ValueError(f"thresholds: need {len(FALSE_ALARMS)}, one for each rate")
        return self

    def log_odds(self, score: float) -> float:
        """The logarithm of the odds that a score stands for, both classes being equally likely."""
        return self.scale * score + self.offset

    def threshold(self, false_alarms: float) -> float:
        """The log-odds that sound of the other class passes so often; the rarest that is known
        where it is asked for less."""
        rates = [-math.log(rate) for rate in FALSE_ALARMS]  # ascending
        return float(np.interp(-math.log(false_alarms), rates, self.thresholds))


def checked_false_alarms(rate: object) -> float:
    """A rate of false alarms for which there is a threshold.

    Raises:
        ConfigurationError: it is no number from 0.001 to 0.1.
    """
    number: object = rate.item() if isinstance(rate, np.generic) else rate
    if isinstance(number, int | float) and LOWEST <= number <= HIGHEST:  # True is 1: too high
        return float(number)
    raise ConfigurationError(
        f"false_alarms: {rate!r} is no rate that a detector is calibrated for; "
        f"give {LOWEST} to {HIGHEST}"
    )


def calibration_for(calibrations: Sequence[Calibration], seconds: float) -> Calibration:
    """The one of the longest sound that is no longer than `seconds`; of the shortest otherwise."""
    ordered = sorted(calibrations, key=lambda one: one.seconds)
    fitting = [one for one in ordered if one.seconds <= seconds + 1e-6]
    return fitting[-1] if fitting else ordered[0]


def calibrated(positives: Scores, negatives: Scores, seconds: float) -> Calibration:
    """The calibration of scores of sound that is (P,), and that is not (N,), of the class asked of.

    Raises:
        ValueError: there are none of one of them.
    """
    scale, offset = platt(positives, negatives)
    log_odds = scale * np.sort(negatives) + offset  # (N,)
    mean, spread, count = float(log_odds.mean()), float(log_odds.std()), len(log_odds)
    thresholds = []
    for rate, z in zip(FALSE_ALARMS, Z, strict=True):
        if rate * count >= SEEN:
            # As many as are allowed lie at or above it: the next float after the one below.
            allowed = int(rate * count)
            thresholds.append(float(np.nextafter(log_odds[count - allowed - 1], np.inf)))
        else:
            highest = float(np.nextafter(log_odds[-1], np.inf))
            thresholds.append(max(highest, mean + z * spread))
    return Calibration(
        seconds=seconds,
        scale=scale,
        offset=offset,
        negatives=count,
        thresholds=tuple(np.maximum.accumulate(thresholds).tolist()),
    )


def platt(positives: Scores, negatives: Scores) -> tuple[float, float]:
    """Scale and offset of the line from scores to log-odds that fits them best.

    Cross-entropy, the classes counting the same. Platt's targets, a little within 0 and 1, keep the
    line finite where the classes do not overlap. A line that would fall is taken as almost level:
    such scores say nothing.

    Raises:
        ValueError: there are none of one of them.
    """
    p, n = len(positives), len(negatives)
    if not p or not n:
        raise ValueError("a calibration needs sound of both classes")
    scores = np.concatenate([positives, negatives])  # (P + N,)
    targets = np.repeat([(p + 1) / (p + 2), 1 / (n + 2)], [p, n])
    weights = np.repeat([0.5 / p, 0.5 / n], [p, n])
    middle, spread = float(scores.mean()), float(scores.std()) or 1.0
    design = np.stack([(scores - middle) / spread, np.ones_like(scores)], axis=1)  # (P + N, 2)
    line = np.zeros(2)

    def entropy(line: Scores) -> float:
        odds = design @ line
        return float((weights * (np.logaddexp(0, odds) - targets * odds)).sum())

    for _ in range(100):  # Newton's steps, each halved until it helps
        said = 1 / (1 + np.exp(-np.clip(design @ line, -50, 50)))
        gradient = design.T @ (weights * (said - targets))
        curvature = (design * (weights * said * (1 - said))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        size = 1.0
        while size > 1e-6 and entropy(line - size * step) > entropy(line):
            size /= 2
        line = line - size * step
        if float(np.abs(size * step).max()) < 1e-9:
            break
    scale = float(line[0]) / spread
    if scale < 1e-3:
        return 1e-3, -1e-3 * middle
    return scale, float(line[1]) - scale * middle
