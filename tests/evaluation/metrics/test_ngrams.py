"""Unigram and bigram models against their definition, one id at a time."""

import itertools
import math

import numpy as np
import pytest

from audiolm.evaluation.metrics.ngrams import DISCOUNT, Counts, bigram_bits, unigram_bits

K = 5


def counted(*sequences):
    counts = Counts(K)
    for sequence in sequences:
        counts.add(np.array(sequence))
    return counts


SEEN = ([0, 1, 2, 1, 0, 1], [3, 1], [4])


def unigram(id):
    every = [i for sequence in SEEN for i in sequence]
    return (every.count(id) + 1) / (len(every) + K)


def bigram(first, second):
    pairs = [pair for s in SEEN for pair in itertools.pairwise(s)]
    after = [b for a, b in pairs if a == first]
    if not after:
        return unigram(second)
    seen = max(after.count(second) - DISCOUNT, 0) / len(after)
    return seen + DISCOUNT * len(set(after)) / len(after) * unigram(second)


def test_bits_are_those_of_the_definition():
    text = [0, 1, 1, 4, 2, 3]
    counts = counted(*SEEN)
    plain = -sum(math.log2(unigram(i)) for i in text)
    assert unigram_bits(counts, [np.array(text)]) == pytest.approx(plain)
    plain = -math.log2(unigram(0))
    plain -= sum(math.log2(bigram(a, b)) for a, b in itertools.pairwise(text))
    assert bigram_bits(counts, [np.array(text)]) == pytest.approx(plain)


def test_chances_sum_to_one():
    counts = counted(*SEEN)
    assert sum(2 ** -unigram_bits(counts, [np.array([i])]) for i in range(K)) == pytest.approx(1)
    for first in range(K):
        start = unigram_bits(counts, [np.array([first])])
        after = [bigram_bits(counts, [np.array([first, i])]) - start for i in range(K)]
        assert sum(2**-bits for bits in after) == pytest.approx(1)


def test_what_a_speaker_says_is_taken_out():
    rest = counted(*SEEN).without(counted(SEEN[0]))
    expected = counted(*SEEN[1:])
    np.testing.assert_array_equal(rest.single, expected.single)
    np.testing.assert_array_equal(rest.pairs, expected.pairs)


def test_empty_sequences_cost_nothing():
    counts = counted(*SEEN)
    empty = [np.array([], dtype=np.int64)]
    assert unigram_bits(counts, empty) == bigram_bits(counts, empty) == 0
