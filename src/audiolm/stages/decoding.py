"""Decoding: masks in the streams become drawn ids, window by window.

What is to be generated is written into the streams as `MASK` and flattened like everything else,
so the layout says for each mask which kind of token comes there and what conditions it. `fill`
then goes through the masks from left to right. The three functions below it cut a stream that may
be of any length into windows no longer than the stage was trained on:

    semantic, codes   when the window is full, its older half is dropped and the rest is flattened
                      again, with START in front; for the coarse stage, the semantic ids of the
                      window are those of the same span of time
    fine              non-overlapping chunks, all of them rows of one batch (paper, section III-C)
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from audiolm.shapes import FRAMES_PER_STEP, Codes, FlatIds, SemanticIds
from audiolm.stages.cache import CachedDecoder
from audiolm.stages.layout import END, FIRST_SEMANTIC, MASK, PAD, SEMANTIC, Flat, Streams
from audiolm.stages.sampling import Sampling, draw
from audiolm.stages.transformer import Transformer

CHUNKS_AT_ONCE = 16
"""Chunks of the fine stage in one batch: bounds the memory that long recordings take."""


@dataclass(frozen=True)
class Drawing:
    """How masks are filled."""

    sampling: Sampling
    generator: torch.Generator
    name: str
    """The stage, as error messages call it."""
    until_end: bool = False
    """The semantic stage may draw END, and stops when every row has."""
    progress: Callable[[int], None] | None = None
    """Called with the number of positions filled since the last call."""
    weights: torch.dtype | None = None
    """Type of the weights of cached steps; as they are when None."""


def fill(transformer: Transformer, flat: Flat, drawing: Drawing) -> FlatIds:
    """The ids (B, L) with masks drawn; known ids among and after the masks are kept.

    Blanks stay where every row has drawn END before.
    """
    layout, batch, length = transformer.layout, *flat.ids.shape
    mask, lengths = flat.ids == MASK, (flat.ids != PAD).sum(1)
    known = torch.where(mask.any(1), mask.byte().argmax(1), lengths)  # (B,) ids before a mask
    column = torch.arange(length, device=flat.ids.device)
    # Step back to where the frame begins, so that all rows draw the same level at the same time.
    predicted_before = (flat.predicted & (column < known[:, None] - 1)).sum(1)
    known = known - predicted_before % len(layout.kinds)
    beginnings = flat.ids.masked_fill(column >= known[:, None], PAD)[:, : int(known.max())]

    # Rows differ in where their masks begin: step t fills position known + t of each row.
    position = known[:, None] + column[: int((lengths - known).max())]  # (B, steps)
    inside = position < lengths[:, None]
    position = position.clamp(max=length - 1)
    wanted = flat.ids.gather(1, position).masked_fill(~inside, MASK)
    kinds = flat.kinds.gather(1, position - 1).masked_fill(~inside, -1).amax(0).tolist()
    beside = (position - 1)[..., None].expand(-1, -1, flat.aligned.shape[2])
    aligned = flat.aligned.gather(1, beside)  # (B, steps, C)
    some_known = bool((wanted >= 0).any())
    no_repeats = layout.config.kind == "semantic" and layout.config.remove_repeats

    capacity = beginnings.shape[1] + len(kinds)
    decoder = CachedDecoder(transformer, batch, capacity, drawing.weights)
    hidden = decoder.prefill(beginnings, flat.aligned[:, : beginnings.shape[1]])
    previous = flat.ids.gather(1, known[:, None] - 1).squeeze(1)  # (B,)
    drawn = torch.full_like(wanted, MASK)
    ended = torch.zeros_like(known, dtype=torch.bool)
    for step, kind in enumerate(kinds):
        if step:
            hidden = decoder.step(previous, aligned[:, step])
        allowed = layout.allowed(kind, end=drawing.until_end)
        logits = transformer.logits(hidden, kind)[:, allowed.start - layout.first_id(kind) :]
        repeat = previous - allowed.start if no_repeats else None
        ids = draw(logits, drawing.sampling, drawing.generator, drawing.name, repeat)
        previous = ids + allowed.start
        if some_known:
            previous = torch.where(wanted[:, step] >= 0, wanted[:, step], previous)
        drawn[:, step] = previous
        if drawing.progress:
            drawing.progress(1)
        if drawing.until_end and kind == SEMANTIC:
            ended |= previous == END
            if bool(ended.all()):
                break
    filled = flat.ids.clone()
    rows, steps = inside.nonzero(as_tuple=True)
    filled[rows, position[rows, steps]] = drawn[rows, steps]
    return filled


def continue_semantic(
    transformer: Transformer, semantic: SemanticIds, steps: int, context: int, drawing: Drawing
) -> Streams:
    """`steps` new semantic ids (B, steps), fewer if all rows end; `context` ids to a window.

    With repeats removed from the sequence, they are ids without repeats. Ids after a row's end are
    `PAD`, and `ended` says which rows have ended.
    """
    layout, history, new = transformer.layout, semantic, semantic[:, :0]
    ended = torch.zeros(len(semantic), dtype=torch.bool, device=semantic.device)
    while new.shape[1] < steps and not bool(ended.all()):
        tokens = layout.tokens_from(history).amax(0)  # (S,), falling
        if len(tokens) and int(tokens[0]) >= context:
            start = int((tokens > context // 2).sum())
            history, tokens = history[:, start:], tokens[start:]
        used = int(tokens[0]) if len(tokens) else 0
        room = min(context - used, steps - new.shape[1])
        flat = layout.flatten(Streams(F.pad(history, (0, room), value=MASK)))
        ids = fill(transformer, flat, drawing)[flat.ids == MASK].view(-1, room)  # (B, room)
        over = ended[:, None] | ((ids == END).cumsum(1) > 0)
        fresh = ids - FIRST_SEMANTIC
        new = torch.cat([new, fresh.masked_fill(over, PAD)], dim=1)
        history = torch.cat([history, fresh.clamp(min=0)], dim=1)  # a row that is over goes on
        ended = over[:, -1]
    longest = int((new != PAD).sum(1).max())
    return Streams(semantic=new[:, :longest], ended=ended)


def continue_codes(
    transformer: Transformer,
    semantic: SemanticIds,
    codes: Codes,
    steps: int,
    context: int,
    drawing: Drawing,
) -> Streams:
    """`steps` new frames after `codes` (B, Q', F); `context` frames to a window.

    The result holds prompt and new frames. `semantic` covers them all (acoustic_only: is unused).
    """
    layout, known, start = transformer.layout, codes.shape[2], 0
    codes = F.pad(codes, (0, steps), value=MASK)
    # Without a prefix, the ids shown ahead of time need not end where the window ends.
    ahead = 0 if layout.has_prefix else layout.config.look_ahead
    while known < codes.shape[2]:
        if known - start >= context:
            start = known - context // 2
            start += start % FRAMES_PER_STEP  # windows begin with a whole semantic step
        stop = min(start + context, codes.shape[2])
        last = -(-stop // FRAMES_PER_STEP) + ahead
        beside = semantic[:, start // FRAMES_PER_STEP : last]
        flat = layout.flatten(Streams(beside, codes[..., start:stop]))
        window = layout.unflatten(fill(transformer, flat, drawing)).codes
        assert window is not None
        codes[..., start:stop] = window
        known = stop
    return Streams(codes=codes)


def fill_fine(transformer: Transformer, codes: Codes, context: int, drawing: Drawing) -> Streams:
    """Codes (B, Q, F) with `MASK` at unknown fine ids, all filled; `context` frames to a chunk."""
    batch, levels, frames = codes.shape
    padded = F.pad(codes, (0, -frames % context), value=PAD)
    chunks = padded.view(batch, levels, -1, context).transpose(1, 2)  # (B, n, Q, context)
    chunks = chunks.reshape(-1, levels, context)
    unknown = (chunks == MASK).any(2).any(1).nonzero().squeeze(1)
    for first in range(0, len(unknown), CHUNKS_AT_ONCE):
        some = unknown[first : first + CHUNKS_AT_ONCE]
        present = int((chunks[some, 0] != PAD).sum(1).max())
        part = chunks[some, :, :present]
        flat = transformer.layout.flatten(Streams(codes=part))
        filled = transformer.layout.unflatten(fill(transformer, flat, drawing)).codes
        assert filled is not None
        chunks[some, :, :present] = torch.where(part == MASK, filled, part)
    rows = chunks.view(batch, -1, levels, context).transpose(1, 2).flatten(2)
    return Streams(codes=rows[..., :frames])
