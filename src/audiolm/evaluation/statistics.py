"""How sure a figure is: 95 % intervals and tests.

Utterances of one speaker resemble each other, so that intervals over utterances are too narrow:
what is resampled are speakers (or pairs, or prompts: whatever items hang together by), each with
all its items.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Required, TypedDict, Unpack

import numpy as np

from audiolm.evaluation.protocol import Figure

ROUNDS = 2000
"""Bootstrap rounds; the ends of an interval then move by a few percent of its width at most."""
LOW, HIGH = 2.5, 97.5
"""Percentiles of a 95 % interval."""
Z = 1.959963984540054
"""The normal distribution's 97.5th percentile."""


def bootstrap_weights(clusters: int, seed: int, rounds: int = ROUNDS) -> np.ndarray:
    """How often each cluster is drawn in each round, with replacement: (rounds, clusters) int."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=rounds)


def ratio_figure(
    numerators: Sequence[float],
    denominators: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    unit: str,
    scale: float = 1.0,
    note: str = "",
    paper: float | None = None,
    seed: int = 0,
) -> Figure:
    """`scale` * sum of numerators / sum of denominators, as word error rates are.

    Args:
        numerators: of each item: errors, bits, ...
        denominators: of each item: words, tokens, ...; their sum is above zero.
        clusters: of each item, what it hangs together with others by: its speaker. Each item is its
            own cluster when None, and also where all items are of one cluster, which is then noted.
        unit: as in `Figure`.
        scale: 100 makes percent of a share.
        note: as in `Figure`.
        paper: as in `Figure`.
        seed: of the bootstrap.

    Raises:
        ValueError: if there are no items, or their denominators do not sum to more than zero.
    """
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if not len(above) or below.sum() <= 0:
        raise ValueError("a figure needs items, with a sum of denominators above zero")
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
    return Figure(
        scale * float(value),
        scale * float(low),
        scale * float(high),
        len(above),
        unit,
        note,
        paper,
    )


class About(TypedDict, total=False):
    """What `ratio_figure` takes by name."""

    unit: Required[str]
    scale: float
    note: str
    paper: float | None
    seed: int


def mean_figure(
    values: Sequence[float], clusters: Sequence[Hashable] | None = None, **about: Unpack[About]
) -> Figure:
    """`scale` * mean of the values; see `ratio_figure` for the rest."""
    return ratio_figure(values, [1.0] * len(values), clusters, **about)


def proportion_figure(
    successes: int, trials: int, *, note: str = "", paper: float | None = None
) -> Figure:
    """Percent of independent trials that succeeded, with Wilson's interval."""
    low, high = wilson(successes, trials)
    value = 100 * successes / trials
    return Figure(value, 100 * low, 100 * high, trials, "%", note, paper)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion: good for few trials, and at 0 and 1.

    Raises:
        ValueError: unless 0 <= successes <= trials and there are trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes in {trials} trials cannot be")
    share, spread = successes / trials, Z**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    # At the ends the exact bound is 0 or 1; rounding must not put the share outside.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


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
