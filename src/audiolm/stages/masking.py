"""Which codes are hidden from the parallel stage in training (SoundStorm, section 3.2).

Of each row one level is asked. Before a drawn prompt's end every level is known. After it the
levels coarser than the asked one are known, those finer are hidden, and of the asked level a share
of the frames is hidden, drawn by a cosine; these are what the loss counts. SoundStorm has prompts
only; here the end of some rows is known as well, as it is where a gap between two sides is filled.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from pydantic import Field
from torch import Tensor

from audiolm.configuration import Configuration
from audiolm.shapes import Codes
from audiolm.stages.streams import MASK, PAD


class MaskingConfig(Configuration):
    """How masks are drawn in training."""

    longest_prompt: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Longest prompt as a share of the row; its length is drawn evenly from 0 to this."""
    no_prompt: float = Field(default=0.15, ge=0.0, le=1.0)
    """Share of rows without a prompt, besides."""
    both_sides: float = Field(default=0.2, ge=0.0, le=1.0)
    """Share of rows that are known again from some frame on to their end."""


@dataclass(frozen=True)
class MaskedCodes:
    """A batch with codes hidden."""

    codes: Codes
    """(B, Q', F) with `MASK` at what is hidden."""
    level: Int[Tensor, "B"]
    """(B,) the level that is asked of each row, counted from 0."""
    asked: Bool[Tensor, "B F"]
    """(B, F) which frames of that level are hidden."""


def cosine(progress: float) -> float:
    """The share of tokens that is hidden when so much of the decoding is done: from 1 down to 0."""
    return math.cos(0.5 * math.pi * progress)


def draw_masks(
    codes: Codes,
    config: MaskingConfig,
    generator: torch.Generator | None = None,
    level: int | None = None,
) -> MaskedCodes:
    """Hide some of the codes (B, Q', F) of rows padded with `PAD` on the right.

    Args:
        codes: all known.
        config: what is drawn.
        generator: on the codes' device; PyTorch's own when None, as for dropout.
        level: the level that is asked of every row, counted from 0; drawn for each when None.
    """
    batch, levels, frames = codes.shape
    draws = torch.rand(6, batch, generator=generator, device=codes.device)
    length = (codes[:, 0] != PAD).sum(1)  # (B,)
    begins = (draws[0] * config.longest_prompt * length).long()
    begins = torch.where(draws[1] < config.no_prompt, 0, begins)
    ends = begins + 1 + (draws[2] * (length - begins)).long()
    ends = torch.where(draws[3] < config.both_sides, ends, length).clamp(max=length)
    levels_asked = (draws[4] * levels).long()
    if level is not None:
        levels_asked = torch.full_like(levels_asked, level)
    share = torch.cos(0.5 * math.pi * draws[5])  # (B,) as `cosine`
    count = (share * (ends - begins)).ceil()

    frame = torch.arange(frames, device=codes.device)
    inside = (frame >= begins[:, None]) & (frame < ends[:, None])  # (B, F)
    order = torch.rand(batch, frames, generator=generator, device=codes.device)
    asked = inside & (rank(order.masked_fill(~inside, 2.0)) < count[:, None])
    above = torch.arange(levels, device=codes.device)[:, None]  # (Q', 1)
    finer = inside[:, None] & (above > levels_asked[:, None, None])
    here = asked[:, None] & (above == levels_asked[:, None, None])
    return MaskedCodes(codes.masked_fill(finer | here, MASK), levels_asked, asked)


def rank(values: Tensor) -> Int[Tensor, "B F"]:
    """The place (B, F) of each value in its row, counted from 0 for the smallest."""
    return values.argsort(dim=1, stable=True).argsort(dim=1)
