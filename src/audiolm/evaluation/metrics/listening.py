"""Listening tests: how often raters say what is true, or what is hoped for (sections IV-G, IV-I).

Definition: the share of right answers in percent, with Wilson's interval as if answers were
independent, and with intervals over clips and over raters, whose answers resemble each other.

Convention: answers of one test, and by item the right one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

from audiolm.evaluation.metrics.statistics import Metric, mean_metric, proportion_metric


@dataclass(frozen=True)
class Answer:
    """What a rater said of an item."""

    test: str
    rater: str
    item: str
    answer: str


def validate(answers: Sequence[Answer], right: Mapping[str, str]) -> None:
    """Check the answers.

    Raises:
        ValueError: there are none, or one is to an item that has no right answer.
    """
    if not answers:
        raise ValueError("there are no answers")
    unknown = [answer.item for answer in answers if answer.item not in right]
    if unknown:
        raise ValueError(f"there is no right answer to {unknown[0]}")


def evaluate(answers: Sequence[Answer], right: Mapping[str, str], seed: int) -> dict[str, Metric]:
    """How often raters say what is true (section IV-G).

    Args:
        answers: of one test.
        right: by item, the right answer.
        seed: of the bootstrap.

    Returns:
        `all`, in percent of all answers with Wilson's interval, as if answers were independent;
        `over_items` and `over_raters`, the same with intervals over clips and over raters; and of
        each right answer alone, under its name.

    Raises:
        ValueError: as `validate`.
    """
    validate(answers, right)
    correct = [float(a.answer == right[a.item]) for a in answers]
    metrics = {
        "all": proportion_metric(round(sum(correct)), len(correct)),
        "over_items": mean_metric(
            correct, [a.item for a in answers], unit="%", scale=100, seed=seed
        ),
        "over_raters": mean_metric(
            correct, [a.rater for a in answers], unit="%", scale=100, seed=seed
        ),
    }
    for truth in dict.fromkeys(right.values()):
        of_truth = [c for c, a in zip(correct, answers, strict=True) if right[a.item] == truth]
        if of_truth:
            metrics[truth] = proportion_metric(round(sum(of_truth)), len(of_truth))
    return metrics


def at_least(successes: int, trials: int) -> float:
    """Exact one-sided p of a fair coin: how likely are so many successes or more?

    The paper's p = 0.23 for 512 of 1000 right answers is this; two-sided it is 0.47.
    """
    ways = sum(comb(trials, k) for k in range(successes, trials + 1))
    return float(Fraction(ways, 2**trials))
