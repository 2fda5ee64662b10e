"""Detection of synthetic speech (section IV-H; ASVspoof 5 for what the paper does not have).

Definition: *balanced accuracy*, the mean of the share of synthetic pieces that are found and of the
share of originals that are let through; *ranked*, how often a synthetic piece is given a higher
probability than its own original, ties a half.

*AUC*, *EER*, *minDCF* and *Cllr* are as ASVspoof 5 (Wang et al., 2024) defines them, of log-odds.

Convention: probabilities that a piece is synthetic, of originals and of what was made from them, in
the same order; the speaker of each pair.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from audiolm.evaluation.metrics.statistics import (
    HIGH,
    LOW,
    Metric,
    bootstrap_weights,
    mean_metric,
)

Scores = NDArray[np.float64]

PAPER = 98.6
"""Accuracy on a balanced set, in percent."""
REFUSED, ACCEPTED, PRIOR = 1.0, 10.0, 0.05
"""Costs of a real piece that is refused and of a synthetic one that is accepted, and the share of
synthetic pieces: those of ASVspoof 5."""


def validate(real: Sequence[float], synthetic: Sequence[float], speakers: Sequence[str]) -> None:
    """Check the probabilities.

    Raises:
        ValueError: there are none, or not as many of each, or one is not from 0 to 1.
    """
    if not real or not len(real) == len(synthetic) == len(speakers):
        raise ValueError("originals, synthetic pieces and speakers are not equally many")
    if not all(0 <= p <= 1 for p in (*real, *synthetic)):
        raise ValueError("a probability is not from 0 to 1")


def evaluate(
    real: Sequence[float],
    synthetic: Sequence[float],
    speakers: Sequence[str],
    threshold: float,
    seed: int,
) -> dict[str, Metric]:
    """Metrics from the probabilities of paired originals and continuations, in percent.

    Args:
        real: probability that each original is synthetic.
        synthetic: the same of the continuation made from each.
        speakers: of each pair, for the intervals.
        threshold: from here on, sound counts as synthetic.
        seed: of the bootstrap.

    Raises:
        ValueError: as `validate`.
    """
    validate(real, synthetic, speakers)
    passed = [float(p < threshold) for p in real]
    found = [float(p >= threshold) for p in synthetic]
    both = [(a + b) / 2 for a, b in zip(passed, found, strict=True)]
    ranked = [
        1.0 if s > r else 0.5 if s == r else 0.0 for r, s in zip(real, synthetic, strict=True)
    ]

    def percent(values: list[float], paper: float | None = None) -> Metric:
        return mean_metric(values, speakers, unit="%", scale=100, paper=paper, seed=seed)

    return {
        "balanced_accuracy": percent(both, PAPER),
        "synthetic_found": percent(found),
        "real_passed": percent(passed),
        "ranked": percent(ranked),
    }


def area_under_curve(real: Scores, synthetic: Scores) -> float:
    """How often a synthetic piece scores above a real one, ties a half (AUC), 0 to 1."""
    ordered = np.sort(real)
    below = np.searchsorted(ordered, synthetic, side="left")  # (S,)
    not_above = np.searchsorted(ordered, synthetic, side="right")
    return float((below + not_above).mean() / (2 * len(real)))


def error_rates(real: Scores, synthetic: Scores) -> tuple[Scores, Scores]:
    """Shares that are judged wrongly at every threshold that makes a difference.

    Returns:
        Of real pieces those called synthetic, and of synthetic ones those let through, both (n,);
        from "everything is synthetic" to "nothing is".
    """
    thresholds = np.append(np.unique(np.concatenate([real, synthetic])), np.inf)
    wrong = 1 - np.searchsorted(np.sort(real), thresholds, side="left") / len(real)
    missed = np.searchsorted(np.sort(synthetic), thresholds, side="left") / len(synthetic)
    return wrong, missed


def equal_error_rate(real: Scores, synthetic: Scores) -> float:
    """The mean of both error rates at the threshold where they are nearest (EER), 0 to 1."""
    wrong, missed = error_rates(real, synthetic)
    nearest = int(np.abs(wrong - missed).argmin())
    return float(wrong[nearest] + missed[nearest]) / 2


def min_dcf(real: Scores, synthetic: Scores) -> float:
    """The least detection cost over all thresholds, over that of saying one thing of everything.

    ASVspoof 5, track 1: a real piece that is refused costs 1, a synthetic one that is accepted 10,
    and 5 % of what is asked about is synthetic. Its words are turned round: there real sound is the
    target, so that a *miss* is a real piece refused.
    """
    wrong, missed = error_rates(real, synthetic)
    cost = REFUSED * (1 - PRIOR) * wrong + ACCEPTED * PRIOR * missed
    return float(cost.min() / min(REFUSED * (1 - PRIOR), ACCEPTED * PRIOR))


def cllr(real: Scores, synthetic: Scores) -> float:
    """Cost of log-likelihood ratios, in bits: 0 is perfect, 1 what one has without any answer.

    The scores are log-odds of being synthetic, both being equally likely beforehand.
    """
    of_real = np.logaddexp(0, real).mean()
    of_synthetic = np.logaddexp(0, -np.asarray(synthetic)).mean()
    return float((of_real + of_synthetic) / (2 * math.log(2)))


CURVES: dict[str, tuple[Callable[[Scores, Scores], float], float, str]] = {
    "auc": (area_under_curve, 100.0, "%"),
    "eer": (equal_error_rate, 100.0, "%"),
    "min_dcf": (min_dcf, 1.0, ""),
    "cllr": (cllr, 1.0, "bits"),
}
"""Statistics over all pieces at once: function, scale and unit."""


def curves(
    real: Sequence[float],
    synthetic: Sequence[float],
    real_speakers: Sequence[str],
    synthetic_speakers: Sequence[str],
    seed: int,
    rounds: int = 500,
) -> dict[str, Metric]:
    """AUC, EER, minDCF and Cllr, with intervals over speakers.

    Args:
        real: log-odds of each original.
        synthetic: log-odds of each synthetic piece.
        real_speakers: of each original.
        synthetic_speakers: of each synthetic piece: who spoke its prompt.
        seed: of the bootstrap.
        rounds: of the bootstrap.

    Raises:
        ValueError: there are none of one of them.
    """
    if not len(real) or not len(synthetic):
        raise ValueError("curves need originals and synthetic pieces")
    names = sorted({*real_speakers, *synthetic_speakers})
    scores = np.asarray(real, dtype=float), np.asarray(synthetic, dtype=float)
    # Of each class, the indices of every speaker's pieces.
    places = [
        [np.flatnonzero(np.asarray(who) == name) for name in names]
        for who in (real_speakers, synthetic_speakers)
    ]
    note = ""
    if len(names) == 1:
        note = "one speaker only: no interval"
    drawn: dict[str, list[float]] = {name: [] for name in CURVES}
    for weights in bootstrap_weights(len(names), seed, rounds):
        chosen = [
            np.concatenate([np.tile(p, w) for p, w in zip(of_class, weights, strict=True)])
            for of_class in places
        ]
        if not all(len(indices) for indices in chosen):
            continue
        some = [s[indices.astype(int)] for s, indices in zip(scores, chosen, strict=True)]
        for name, (statistic, scale, _) in CURVES.items():
            drawn[name].append(scale * statistic(some[0], some[1]))
    metrics = {}
    for name, (statistic, scale, unit) in CURVES.items():
        low, high = np.percentile(drawn[name], [LOW, HIGH])
        value = scale * statistic(*scores)
        count = len(real) + len(synthetic)
        metrics[name] = Metric(value, float(low), float(high), count, unit, note)
    return metrics
