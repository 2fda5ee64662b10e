"""One recording as tokens: what `AudioLM.tokenize` gives, and what can be decoded."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audiolm.errors import ConfigurationError
from audiolm.shapes import Codes


@dataclass(frozen=True)
class Tokens:
    """One recording as tokens."""

    semantic: Tensor
    """(S,) int64 at 25 Hz: what is said."""
    acoustic: Tensor
    """(Q, F) int64 at 50 Hz: how it sounds."""


def checked_codes(tokens: object, levels: int, codebook_size: int) -> Codes:
    """The codes of one recording as (1, q, F) int64 on the CPU, of whatever holds them.

    Args:
        tokens: `Tokens`, or the codes themselves.
        levels: Q, levels of the codec.
        codebook_size: N, ids per level.

    Raises:
        ConfigurationError: they are not (q, F) or (1, q, F) whole numbers from 0 to N - 1, with
            1 <= q <= Q and F >= 1.
    """
    given = tokens.acoustic if isinstance(tokens, Tokens) else tokens
    try:
        codes = _array(given) if isinstance(given, Tensor) else np.asarray(given)
    except (TypeError, ValueError):  # nested lists of different lengths; a type NumPy has not
        codes = np.zeros(())
    if codes.ndim == 3 and len(codes) == 1:
        codes = codes[0]
    if codes.ndim != 2 or not 1 <= codes.shape[0] <= levels or codes.shape[1] == 0:
        raise ConfigurationError(
            f"tokens.acoustic: shape {codes.shape} is not (levels, frames) of one recording with "
            f"1 to {levels} levels and at least one frame; pass what tokenize() returns"
        )
    numbers = codes.dtype.kind in "iuf"
    if not numbers or not bool(
        ((codes >= 0) & (codes < codebook_size) & (codes == np.floor(codes))).all()
    ):
        raise ConfigurationError(
            f"tokens.acoustic: not all ids are whole numbers in 0 to {codebook_size - 1}"
        )
    return torch.from_numpy(codes.astype(np.int64))[None]


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()  # NumPy has no bfloat16
    array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array
