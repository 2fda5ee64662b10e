"""What a stage reads and writes: streams of ids on their own clocks, with what is not there marked.

Repeats of semantic ids are removed before a stage sees them, where its layout says so (paper,
section IV-B); `stretch` brings ids without repeats back to the clock.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from audiolm.errors import AudioLMError
from audiolm.shapes import Codes, SemanticIds

PAD = -1
"""Nothing here: past the end of a row, in streams and in flat sequences."""

MASK = -2
"""There is a token here, but it is not known yet: decoding will fill it."""

SemanticSource = Callable[[int, int], SemanticIds]
"""Gives the ids (B, n) of steps `start` to `stop`, fewer where they end. A later call asks for no
smaller `start`: what lies before it may be forgotten."""


@dataclass(frozen=True)
class Streams:
    """What a stage reads and writes. `PAD` (-1) fills rows that are shorter than others."""

    semantic: SemanticIds | None = None
    """(B, S) ids on the 25 Hz clock, repeats present."""
    codes: Codes | None = None
    """(B, Q, F) ids; only complete frames."""
    ended: Bool[Tensor, "B"] | None = None
    """(B,) the recording ends where the semantic ids (of the far side, where there is one) end, so
    an end-of-sequence follows."""
    later: SemanticSource | None = None
    """In decoding, in place of `semantic`: ids that condition codes, made when they are needed."""
    far: Int[Tensor, "B far"] | None = None
    """(B, S') ids that follow those of `semantic` but are given first: the far side of a gap, which
    is filled at the end of `semantic`. A row of `PAD` has none."""


def remove_repeats(ids: SemanticIds) -> Int[Tensor, "B s"]:
    """Merge consecutive equal ids (paper, IV-B): (B, S) to (B, S'), S' <= S, padded with -1."""
    return closed(torch.where(is_repeat(ids), PAD, ids))


def stretch(ids: Int[Tensor, "*B s"], length: int) -> Int[Tensor, "*B S"]:
    """Spread ids without repeats evenly over `length` steps of the 25 Hz clock, each held in turn.

    Raises:
        AudioLMError: there are no ids to hold, or more ids than steps.
    """
    count = ids.shape[-1]
    if count > length or (length and not count):
        raise AudioLMError(f"cannot stretch {count} semantic ids to {length} steps; ask for more")
    return ids[..., torch.arange(length, device=ids.device) * count // max(length, 1)]


def is_repeat(ids: Tensor) -> Tensor:
    """(B, S) where an id is the one before it again; a `MASK` is none."""
    same = (ids[:, 1:] == ids[:, :-1]) & (ids[:, 1:] != MASK)
    return F.pad(same, (1, 0), value=False)[:, : ids.shape[1]]


def order(ids: Tensor) -> Tensor:
    """Columns (B, L') that bring each row's tokens to the front; L' is the longest row."""
    hole = ids == PAD
    longest = int((~hole).sum(1).max()) if ids.numel() else 0
    return torch.argsort(hole.byte(), dim=1, stable=True)[:, :longest]


def closed(ids: Tensor) -> Tensor:
    """Ids (B, L) with their holes closed: (B, L')."""
    return ids.gather(1, order(ids))
