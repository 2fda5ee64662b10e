"""Flat sequences out of segments: runs of tokens laid side by side, whose holes are then closed.

A layout makes a segment of each stream; a row of a batch that is shorter than others, or whose
repeats are removed, has holes in it. What is known about a token moves along with it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from audiolm.shapes import FlatIds, FlatMask
from audiolm.stages.streams import PAD, order


@dataclass(frozen=True)
class Flat:
    """A batch of sequences; position i reads `ids[i]` and predicts `targets[i] = ids[i + 1]`."""

    ids: FlatIds
    """(B, L) START first, `PAD` after the end of a row."""
    targets: FlatIds
    """(B, L) the next ids; `PAD` where there is none."""
    predicted: FlatMask
    """(B, L) positions whose target counts: not those whose target is conditioning."""
    kinds: FlatIds
    """(B, L) kind of the target: 0 = semantic, q = level q; -1 where nothing is predicted."""
    aligned: Int[Tensor, "B L C"]
    """(B, L, C) conditioning ids at the time of the predicted target; -1 where there is none."""


@dataclass(frozen=True)
class Segment:
    """Some tokens of every row, with holes (`PAD`), and what is known about each."""

    ids: Tensor  # (B, n)
    kinds: Tensor  # (B, n): kind if predicted, else -1
    aligned: Tensor  # (B, n, C)


def flat(segments: list[Segment], first: int) -> Flat:
    """Segments in their order, after the id `first`, with their holes closed: each position is
    given what is known about the token after it."""
    ids = torch.cat([segment.ids for segment in segments], 1)  # (B, L)
    kinds = torch.cat([segment.kinds for segment in segments], 1)  # (B, L)
    aligned = torch.cat([segment.aligned for segment in segments], 1)  # (B, L, C)
    columns = order(ids)  # (B, L')
    ids = ids.gather(1, columns)
    hole = ids == PAD
    kinds = kinds.gather(1, columns).masked_fill(hole, -1)
    beside = columns[..., None].expand(-1, -1, aligned.shape[-1])
    aligned = aligned.gather(1, beside).masked_fill(hole[..., None], PAD)
    return Flat(
        ids=F.pad(ids, (1, 0), value=first),
        targets=F.pad(ids, (0, 1), value=PAD),
        predicted=F.pad(kinds, (0, 1), value=-1) >= 0,
        kinds=F.pad(kinds, (0, 1), value=-1),
        aligned=F.pad(aligned, (0, 0, 0, 1), value=PAD),
    )
