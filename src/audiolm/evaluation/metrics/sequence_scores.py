"""Scores of sequences: which of a pair a language model finds likelier, and bits per token.

Definition (section IV-E): of a pair, the sequence with the higher log-likelihood per token is
preferred; without division by the number of tokens the shorter one is favoured. Bits are nats by
log 2.

Convention: the likelihood of the sequence that a listener who knows the language expects comes
first.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Likelihood:
    """Of one sequence of semantic ids."""

    nats: float
    """log p of its tokens, the end of the sequence not counted."""
    tokens: int
    """How many were predicted: without repeats, where the stage removes them."""

    @property
    def per_token(self) -> float:
        """Normalised by length, as in the paper's section IV-E."""
        return self.nats / max(1, self.tokens)


def validate(*likelihoods: Likelihood) -> None:
    """Check likelihoods.

    Raises:
        ValueError: one is above one, or not a number, or of a negative number of tokens.
    """
    for one in likelihoods:
        if not one.nats <= 0 or one.tokens < 0:
            raise ValueError(f"{one.nats} nats of {one.tokens} tokens cannot be")


def preference(good: Likelihood, bad: Likelihood, per_token: bool = True) -> float:
    """1 if the good one is likelier, 0 if the bad one is, a half for a tie."""
    first, second = (one.per_token if per_token else one.nats for one in (good, bad))
    return 0.5 if first == second else float(first > second)


def bits(nats: float) -> float:
    """Bits that a sequence of this log-likelihood takes."""
    return -nats / math.log(2)


def evaluate(good: Likelihood, bad: Likelihood) -> dict[str, float]:
    """`preference`, and `preference.not_normalised` by length.

    Raises:
        ValueError: as `validate`.
    """
    validate(good, bad)
    return {
        "preference": preference(good, bad),
        "preference.not_normalised": preference(good, bad, per_token=False),
    }
