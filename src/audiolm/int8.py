"""Matrices in eight bits: half the size of float16, with a scale for every row.

A row is `scale * integers`, the integers from -127 to 127. Scales have 12 significant bits, so that
every such product is exact in float32: what was rounded once is found again, bit for bit.
"""

import torch
from torch import Tensor

LEAST_ROW = 64
"""Numbers in a row from which on its scale costs next to nothing."""
_SCALE_BITS = 12
_LARGEST = 127


def is_matrix(weight: Tensor) -> bool:
    """Whether a tensor is worth storing so: floating point, in rows of `LEAST_ROW` or more."""
    return weight.is_floating_point() and weight.ndim > 1 and _rows(weight).shape[1] >= LEAST_ROW


def to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest integers (int8, of the weight's shape) and the scale of each row (n,) float32."""
    rows = _rows(weight.detach().float())  # (n, row)
    fraction, exponent = torch.frexp(rows.abs().amax(dim=1) / _LARGEST)
    steps = 2**_SCALE_BITS
    scales = torch.ldexp((fraction * steps).round() / steps, exponent)  # (n,)
    divisor = torch.where(scales > 0, scales, 1.0)[:, None]
    integers = (rows / divisor).round().clamp(-_LARGEST, _LARGEST)
    return integers.to(torch.int8).view(weight.shape), scales


def from_int8(integers: Tensor, scales: Tensor) -> Tensor:
    """The float32 weight that `to_int8` took apart."""
    rows = _rows(integers).float() * scales[:, None]
    return rows.view(integers.shape)


def _rows(weight: Tensor) -> Tensor:
    """A weight as rows that share a scale: its last axis, or all axes but the first if that is
    short (the kernel of a convolution)."""
    if weight.shape[-1] >= LEAST_ROW:
        return weight.reshape(-1, weight.shape[-1])
    return weight.reshape(weight.shape[0], -1)
