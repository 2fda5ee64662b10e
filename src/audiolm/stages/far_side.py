"""Training a semantic stage to fill the middle: crops that are given with their far side first.

A crop is cut at a point that is drawn, the second part is told before the first (Bavarian et al.
2022, "Efficient training of language models to fill in the middle"). The first part then ends
where the second begins, so whatever its last ids are, they are the middle between two sides: no
length of a gap need be drawn, all are learnt at once. The other crops stay as they are, and the
stage goes on after a prompt as ever.
"""

from dataclasses import replace

import torch

from audiolm.stages.streams import PAD, Streams


def far_side_first(streams: Streams, share: float, generator: torch.Generator) -> Streams:
    """Cut about `share` of the rows in two sides, each at a point drawn evenly.

    Args:
        streams: `semantic` (B, S), padded; rows of a single id stay whole.
        share: of the rows.
        generator: on the CPU; the only source of randomness.

    Returns:
        `semantic` (B, S) with the near sides, or the whole row, and `far` (B, S), both with `PAD`
        wherever an id is on the other side.
    """
    ids = streams.semantic
    assert ids is not None
    draws = torch.rand(2, len(ids), generator=generator).to(ids.device)
    lengths = (ids != PAD).sum(1)  # (B,)
    cut = 1 + (draws[0] * (lengths - 1)).long()  # (B,) 1 to length - 1: no side is empty
    two_sided = (draws[1] < share) & (lengths > 1)
    step = torch.arange(ids.shape[1], device=ids.device)
    is_far = two_sided[:, None] & (step >= cut[:, None])  # (B, S)
    return replace(
        streams, semantic=ids.masked_fill(is_far, PAD), far=ids.masked_fill(~is_far, PAD)
    )
