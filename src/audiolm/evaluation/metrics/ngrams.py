"""Unigram and bigram models of ids: the floors below a Transformer's bits per token.

Definition: bits of all ids of some sequences, by the frequency of ids, and by that of ids after the
id before. Counts are smoothed: one added to each id, absolute discounting for pairs.

Convention: counts of other sequences than those that are measured, and the sequences, (n,) int
each, 0 <= id < K.
"""

from collections.abc import Iterable, Sequence

import numpy as np

DISCOUNT = 0.75
"""Taken off each bigram's count for the bigrams that were never seen."""


class Counts:
    """How often ids, and pairs of ids, occur in sequences.

    Args:
        clusters: K.
        sequences: to count, (n,) each.
    """

    def __init__(self, clusters: int, sequences: Iterable[np.ndarray] = ()) -> None:
        self.single = np.zeros(clusters, dtype=np.int64)  # (K,)
        self.pairs = np.zeros((clusters, clusters), dtype=np.int64)  # (K, K), first then second
        for sequence in sequences:
            self.add(sequence)

    def add(self, sequence: np.ndarray) -> None:
        """Count a sequence (n,)."""
        self.single += np.bincount(sequence, minlength=len(self.single))
        np.add.at(self.pairs, (sequence[:-1], sequence[1:]), 1)

    def without(self, other: "Counts") -> "Counts":
        """These counts less some that are part of them."""
        rest = Counts(len(self.single))
        rest.single, rest.pairs = self.single - other.single, self.pairs - other.pairs
        return rest


def validate(counts: Counts, sequences: Sequence[np.ndarray]) -> None:
    """Check sequences.

    Raises:
        ValueError: an id is below 0 or not below K.
    """
    for sequence in sequences:
        if len(sequence) and not 0 <= sequence.min() <= sequence.max() < len(counts.single):
            raise ValueError(f"ids are not all from 0 to below {len(counts.single)}")


def unigram_bits(counts: Counts, sequences: Sequence[np.ndarray]) -> float:
    """Bits of all ids of the sequences by their frequency alone; one is added to every count."""
    chances = _unigram(counts)
    return sum(float(-np.log2(chances[sequence]).sum()) for sequence in sequences)


def bigram_bits(counts: Counts, sequences: Sequence[np.ndarray]) -> float:
    """Bits of all ids given the id before; the first of a sequence by its frequency alone.

    Absolute discounting: what is taken off the pairs that were seen goes to all by frequency.
    """
    chances = _unigram(counts)
    total = counts.pairs.sum(axis=1)  # (K,) of each first id
    kinds = (counts.pairs > 0).sum(axis=1)  # (K,) different ids after it
    left_over = np.where(total > 0, DISCOUNT * kinds / np.maximum(total, 1), 1.0)  # (K,)
    bits = 0.0
    for sequence in sequences:
        first, second = sequence[:-1], sequence[1:]
        kept = np.maximum(counts.pairs[first, second] - DISCOUNT, 0) / np.maximum(total[first], 1)
        chance = kept + left_over[first] * chances[second]
        bits -= float(np.log2(chance).sum() + np.log2(chances[sequence[:1]]).sum())
    return bits


def _unigram(counts: Counts) -> np.ndarray:
    chances: np.ndarray = (counts.single + 1) / (counts.single.sum() + len(counts.single))
    return chances


def evaluate(counts: Counts, sequences: Sequence[np.ndarray]) -> dict[str, float]:
    """`bigram` and `unigram` bits of all ids of the sequences.

    Raises:
        ValueError: as `validate`.
    """
    validate(counts, sequences)
    return {
        "bigram": bigram_bits(counts, sequences),
        "unigram": unigram_bits(counts, sequences),
    }
