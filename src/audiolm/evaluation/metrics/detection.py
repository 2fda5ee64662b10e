"""Detection of synthetic speech (section IV-H).

Definition: *balanced accuracy*, the mean of the share of synthetic pieces that are found and of the
share of originals that are let through; *ranked*, how often a synthetic piece is given a higher
probability than its own original, ties a half.

Convention: probabilities that a piece is synthetic, of originals and of what was made from them, in
the same order; the speaker of each pair.
"""

from collections.abc import Sequence

from audiolm.evaluation.metrics.statistics import Metric, mean_metric

PAPER = 98.6
"""Accuracy on a balanced set, in percent."""


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
