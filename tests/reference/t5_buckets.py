"""T5's causal buckets from the words of their definition, one distance at a time, exactly."""

from fractions import Fraction


def bucket(distance, buckets, max_distance):
    """Half the buckets are exact; bucket b >= half begins where distance / half reaches
    (max_distance / half) ** ((b - half) / half); compared in whole numbers, without logarithms."""
    half = buckets // 2
    if distance < half:
        return distance
    chosen = half
    for candidate in range(half, buckets):
        # distance / half >= (max_distance / half) ** ((candidate - half) / half)
        left = Fraction(distance, half) ** half
        right = Fraction(max_distance, half) ** (candidate - half)
        if left >= right:
            chosen = candidate
    return chosen
