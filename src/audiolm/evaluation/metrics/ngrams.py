"""Unigram and bigram models of semantic ids: the floors below a Transformer's bits per token.

They are fitted to what all other speakers say, so that no speaker is known to them.
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
