"""Numbers that callers pass: what is meant is taken, what cannot be meant is refused."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from audiolm.arguments import checked_levels, checked_seconds, checked_seed
from audiolm.errors import ConfigurationError

NO_NUMBERS = [True, np.True_, None, "3", [3], (3,), np.array([3]), torch.tensor([3]), 3j]
NOT_WHOLE = [1.5, math.nan, math.inf, -math.inf, np.float32(1.5), np.nan, Fraction(3, 2)]
THREES = [
    3,
    3.0,
    np.int64(3),
    np.uint8(3),
    np.float32(3),
    np.array(3),
    torch.tensor(3),
    Fraction(3),
]


@pytest.mark.parametrize("three", THREES)
def test_three_is_three_whatever_holds_it(three):
    for number in (checked_seed(three), checked_levels(three, 4)):
        assert number == 3 and type(number) is int
    seconds = checked_seconds("seconds", three, 10.0)
    assert seconds == 3.0 and type(seconds) is float


@pytest.mark.parametrize("value", [*NO_NUMBERS, *NOT_WHOLE, -1, 2**63, Decimal(3), "a\nb" * 100])
def test_no_seed(value):
    with pytest.raises(ConfigurationError, match=r"^seed: .* is not a seed; give") as error:
        checked_seed(value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


@pytest.mark.parametrize("value", [*NO_NUMBERS, *NOT_WHOLE, -1, 0, 5])
def test_no_number_of_levels(value):
    with pytest.raises(ConfigurationError, match=r"^levels: .* asked of a codec with 4; give 1 to"):
        checked_levels(value, 4)


@pytest.mark.parametrize(
    "value", [*NO_NUMBERS, math.nan, math.inf, -math.inf, np.float64("nan"), 0, -1, 10.5, 10**400]
)
def test_no_length(value):
    with pytest.raises(ConfigurationError, match=r"^prompt_seconds: .* is not a length; give more"):
        checked_seconds("prompt_seconds", value, 10.0)


def test_the_largest_and_the_smallest():
    assert checked_seed(0) == 0
    assert checked_seed(2**63 - 1) == 2**63 - 1
    assert checked_levels(1, 1) == 1
    assert checked_seconds("seconds", 10, 10.0) == 10.0
