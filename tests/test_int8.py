"""Matrices in eight bits: near enough, found again exactly, and half the size on disk."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiolm.int8 import LEAST_ROW, from_int8, is_matrix, to_int8


def matrix(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("shape", [(3, 64), (2, 5, 100), (7, 16, 3, 3), (4, 1, 1, 80)])
def test_integers_and_scales_agree_with_plain_arithmetic(shape) -> None:
    """The oracle: row by row in double precision."""
    weight = matrix(0, *shape)
    integers, scales = to_int8(weight)
    assert integers.dtype == torch.int8 and integers.shape == weight.shape
    row = shape[-1] if shape[-1] >= LEAST_ROW else int(np.prod(shape[1:]))
    rows = weight.numpy().astype(np.float64).reshape(-1, row)
    assert scales.shape == (len(rows),)
    for plain, found, scale in zip(
        rows, integers.numpy().reshape(-1, row), scales.tolist(), strict=True
    ):
        assert scale == pytest.approx(np.abs(plain).max() / 127, rel=2**-12)
        assert np.array_equal(found, np.clip(np.round(plain / scale), -127, 127))
    restored = from_int8(integers, scales).numpy().reshape(-1, row)
    assert np.abs(restored - rows).max() <= 0.5001 * scales.max()


@given(st.integers(0, 10_000), st.floats(-40, 30))
def test_what_was_rounded_once_is_found_again_bit_for_bit(seed, exponent) -> None:
    weight = matrix(seed, 4, 64, scale=2.0**exponent)
    once = from_int8(*to_int8(weight))
    assert torch.equal(from_int8(*to_int8(once)), once)


def test_a_row_of_zeros_stays_zero() -> None:
    weight = matrix(0, 2, 64)
    weight[1] = 0
    restored = from_int8(*to_int8(weight))
    assert restored[1].eq(0).all() and restored.isfinite().all()


@pytest.mark.parametrize(
    ("shape", "worth_it"),
    [((64,), False), ((4, 63), False), ((4, 64), True), ((2, 4, 16), True), ((9, 1, 1, 7), False)],
)
def test_only_long_rows_are_worth_a_scale(shape, worth_it) -> None:
    assert is_matrix(torch.zeros(shape)) == worth_it
    assert not is_matrix(torch.zeros(shape, dtype=torch.int64))
