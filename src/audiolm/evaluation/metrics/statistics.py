"""How sure a metric is: 95 % intervals and tests.

Utterances of one speaker resemble each other, so that intervals over utterances are too narrow:
what is resampled are speakers (or pairs, or prompts: whatever items hang together by), each with
all its items.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Required, TypedDict, Unpack

import numpy as np

ROUNDS = 2000
"""Bootstrap rounds; the ends of an interval then move by a few percent of its width at most."""
LOW, HIGH = 2.5, 97.5
"""Percentiles of a 95 % interval."""
Z = 1.959963984540054
"""The normal distribution's 97.5th percentile."""


@dataclass(frozen=True)
class Metric:
    """One number of a report, with its 95 % interval."""

    value: float
    low: float
    high: float
    count: int
    """Items that the value is taken over: tokens, utterances, pairs, raters' answers."""
    unit: str
    """Of value, low and high: `%`, `dB`, `MOS`, `bits/token`; empty for a plain number."""
    note: str = ""
    """What a reader must know to compare it with another, in a few words."""
    paper: float | None = None
    """The paper's value, in the same unit, where there is one."""


def bootstrap_weights(clusters: int, seed: int, rounds: int = ROUNDS) -> np.ndarray:
    """How often each cluster is drawn in each round, with replacement: (rounds, clusters) int."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=rounds)


def ratio_metric(
    numerators: Sequence[float],
    denominators: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    unit: str,
    scale: float = 1.0,
    note: str = "",
    paper: float | None = None,
    seed: int = 0,
) -> Metric:
    """`scale` * sum of numerators / sum of denominators, as word error rates are.

    Args:
        numerators: of each item: errors, bits, ...
        denominators: of each item: words, tokens, ...; their sum is above zero.
        clusters: of each item, what it hangs together with others by: its speaker. Each item is its
            own cluster when None, and also where all items are of one cluster, which is then noted.
        unit: as in `Metric`.
        scale: 100 makes percent of a share.
        note: as in `Metric`.
        paper: as in `Metric`.
        seed: of the bootstrap.

    Raises:
        ValueError: if there are no items, or their denominators do not sum to more than zero.
    """
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if not len(above) or below.sum() <= 0:
        raise ValueError("a metric needs items, with a sum of denominators above zero")
    names = list(range(len(above))) if clusters is None else list(clusters)
    if len(set(names)) == 1 and len(names) > 1:
        note = "; ".join(filter(None, [note, "one speaker only: interval over items"]))
        names = list(range(len(above)))
    index = {name: number for number, name in enumerate(dict.fromkeys(names))}
    places = np.array([index[name] for name in names])
    tops = np.bincount(places, above, minlength=len(index))  # (clusters,)
    bottoms = np.bincount(places, below, minlength=len(index))
    weights = bootstrap_weights(len(index), seed)  # (rounds, clusters)
    drawn = weights @ bottoms  # (rounds,)
    ratios = (weights @ tops)[drawn > 0] / drawn[drawn > 0]
    low, high = np.percentile(ratios, [LOW, HIGH])
    value = above.sum() / below.sum()
    return Metric(
        scale * float(value),
        scale * float(low),
        scale * float(high),
        len(above),
        unit,
        note,
        paper,
    )


class About(TypedDict, total=False):
    """What `ratio_metric` takes by name."""

    unit: Required[str]
    scale: float
    note: str
    paper: float | None
    seed: int


def mean_metric(
    values: Sequence[float], clusters: Sequence[Hashable] | None = None, **about: Unpack[About]
) -> Metric:
    """`scale` * mean of the values; see `ratio_metric` for the rest."""
    return ratio_metric(values, [1.0] * len(values), clusters, **about)


def mean_of_known(
    values: Sequence[float | None], clusters: Sequence[Hashable], **about: Unpack[About]
) -> Metric | None:
    """`mean_metric` of the items that have an answer; None where none has."""
    known = [pair for pair in zip(values, clusters, strict=True) if pair[0] is not None]
    if not known:
        return None
    found = [value for value, _ in known if value is not None]
    return mean_metric(found, [cluster for _, cluster in known], **about)


def proportion_metric(
    successes: int, trials: int, *, note: str = "", paper: float | None = None
) -> Metric:
    """Percent of independent trials that succeeded, with Wilson's interval."""
    low, high = wilson(successes, trials)
    value = 100 * successes / trials
    return Metric(value, 100 * low, 100 * high, trials, "%", note, paper)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion: good for few trials, and at 0 and 1.

    Raises:
        ValueError: unless 0 <= successes <= trials and there are trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes in {trials} trials cannot be")
    share, slack = successes / trials, Z**2 / trials
    middle = (share + slack / 2) / (1 + slack)
    half = math.sqrt(share * (1 - share) * slack + slack**2 / 4) / (1 + slack)
    # At the ends the exact bound is 0 or 1; rounding must not put the share outside.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a proportion (Clopper and Pearson, 1934): never too narrow, also
    where what is counted is rare.

    Raises:
        ValueError: unless 0 <= successes <= trials and there are trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes in {trials} trials cannot be")

    def at_most(count: int, chance: float) -> float:
        """Probability of `count` successes or fewer."""
        logs = (math.log(chance), math.log1p(-chance))
        return math.fsum(
            math.exp(
                math.lgamma(trials + 1)
                - math.lgamma(k + 1)
                - math.lgamma(trials - k + 1)
                + k * logs[0]
                + (trials - k) * logs[1]
            )
            for k in range(count + 1)
        )

    def where(count: int, probability: float) -> float:
        """The chance at which `count` successes or fewer have this probability."""
        low, high = 0.0, 1.0
        while high - low > 1e-12:
            middle = (low + high) / 2
            low, high = (middle, high) if at_most(count, middle) > probability else (low, middle)
        return (low + high) / 2

    tail = LOW / 100
    lowest = where(successes - 1, 1 - tail) if successes else 0.0
    highest = where(successes, tail) if successes < trials else 1.0
    return lowest, highest


def binomial_test(successes: int, trials: int, chance: float = 0.5) -> float:
    """Exact two-sided p: how likely is a result as unlikely as this one, if `chance` is true?

    Raises:
        ValueError: unless 0 <= successes <= trials and 0 < chance < 1.
    """
    if not 0 <= successes <= trials or not 0 < chance < 1:
        raise ValueError(f"{successes} of {trials} at a chance of {chance} cannot be")

    def probability(k: int) -> float:
        choose = math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        return math.exp(choose + k * math.log(chance) + (trials - k) * math.log1p(-chance))

    # Outcomes that are equally likely by symmetry differ by rounding.
    limit = probability(successes) * (1 + 1e-7)
    outcomes = (probability(k) for k in range(trials + 1))
    return min(1.0, math.fsum(p for p in outcomes if p <= limit))
