"""Decoding: masks in the streams become drawn ids, window by window.

What is to be decoded is written into the streams as `MASK` and flattened like everything else, so
the layout says for each mask which kind of token comes there and what conditions it. `fill` then
goes through the masks from left to right. The functions below it cut a stream that may be of any
length into windows no longer than the stage was trained on, and yield what is final:

    semantic, codes   when the window is full, its older half is dropped and the rest is flattened
                      again, with START in front; for the coarse stage, the semantic ids of the
                      window are those of the same span of time
    middle            one window: both sides of a gap, as much of each as there is room for
    fine              non-overlapping chunks, several of them rows of one batch (paper, section
                      III-C), each with a generator of its own: a chunk is the same alone
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from audiolm.shapes import FRAMES_PER_STEP, Codes, FlatIds, SemanticIds
from audiolm.stages.cache import CachedDecoder
from audiolm.stages.guidance import guided, with_unconditional_rows
from audiolm.stages.layout import END, FIRST_SEMANTIC, SEMANTIC, Layout
from audiolm.stages.repetition import RepetitionGuard, RepetitionLimits
from audiolm.stages.sampling import Sampling, draw
from audiolm.stages.segments import Flat
from audiolm.stages.streams import MASK, PAD, SemanticSource, Streams
from audiolm.stages.transformer import Transformer

ROWS_AT_ONCE = 16
"""Chunks of the fine stage in one batch: bounds the memory that long recordings take."""


@dataclass(frozen=True)
class DecodingOptions:
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
    repetition: RepetitionLimits | None = None
    """How long the semantic stage may be silent, or repeat itself."""
    guide: bool = False
    """Rows come twice, as `with_unconditional_rows` makes them, and are drawn as one."""


class Masks:
    """Where the masks of a batch of sequences begin, and what comes at each step from there on.

    Rows differ in where their masks begin: step t fills position `known + t` of each row. Known ids
    may stand among and after the masks.
    """

    def __init__(self, layout: Layout, flat: Flat) -> None:
        length = flat.ids.shape[1]
        mask, lengths = flat.ids == MASK, (flat.ids != PAD).sum(1)
        known = torch.where(mask.any(1), mask.byte().argmax(1), lengths)  # (B,) ids before a mask
        column = torch.arange(length, device=flat.ids.device)
        # Step back to where the frame begins, so that all rows draw the same level together.
        predicted_before = (flat.predicted & (column < known[:, None] - 1)).sum(1)
        known = known - predicted_before % len(layout.kinds)
        self.beginnings = flat.ids.masked_fill(column >= known[:, None], PAD)[:, : int(known.max())]
        """(B, L') what stands before the masks, padded on the right."""
        self.previous = flat.ids.gather(1, known[:, None] - 1).squeeze(1)
        """(B,) the last known id."""
        position = known[:, None] + column[: int((lengths - known).max())]
        self.inside = position < lengths[:, None]
        """(B, steps) whether the row is so long."""
        self.position = position.clamp(max=length - 1)
        """(B, steps) what a step fills."""
        self.wanted = flat.ids.gather(1, self.position).masked_fill(~self.inside, MASK)
        """(B, steps) ids that are known, else `MASK`."""
        before = self.position - 1
        kinds = flat.kinds.gather(1, before).masked_fill(~self.inside, -1)
        self.kinds: list[int] = kinds.amax(0).tolist()
        """(steps,) the kind of token that comes at each step, in all rows."""
        beside = before[..., None].expand(-1, -1, flat.aligned.shape[2])
        self.aligned = flat.aligned.gather(1, beside)
        """(B, steps, C) conditioning of what comes at each step."""

    def filled(self, flat: Flat, drawn: Int[Tensor, "B steps"]) -> FlatIds:
        """The sequences with the ids of every step in their place."""
        ids = flat.ids.clone()
        rows, steps = self.inside.nonzero(as_tuple=True)
        ids[rows, self.position[rows, steps]] = drawn[rows, steps]
        return ids


def fill(
    transformer: Transformer,
    flat: Flat,
    masks: Masks,
    options: DecodingOptions,
    generators: Sequence[torch.Generator],
    guard: RepetitionGuard | None = None,
) -> Iterator[Int[Tensor, "B"]]:
    """The flat id (B,) of each row at each step of the masks; known ids come as they are.

    With `options.guide`, B rows come of 2 B: a row and its unconditional one draw one id together.

    With a `guard`, which is told of every semantic id, none is drawn that it forbids. It is over
    when every row has drawn END.
    """
    layout, batch = transformer.layout, len(flat.ids)
    some_known = bool((masks.wanted >= 0).any())
    no_repeats = layout.roles.semantic == "predicted" and layout.config.remove_repeats
    begun = masks.beginnings.shape[1]
    decoder = CachedDecoder(transformer, batch, begun + len(masks.kinds), options.weights)
    hidden = decoder.prefill(masks.beginnings, flat.aligned[:, :begun])
    previous = masks.previous  # (B,)
    ended = torch.zeros(batch, dtype=torch.bool, device=flat.ids.device)
    for step, kind in enumerate(masks.kinds):
        if step:
            hidden = decoder.step(previous, masks.aligned[:, step])
        allowed = layout.allowed(kind, end=options.until_end)
        logits = decoder.logits(hidden, kind)[:, allowed.start - layout.first_id(kind) :]
        if options.guide:
            logits = guided(logits, options.sampling.guidance)  # (B, n) of 2 B rows
        forbidden = None
        if no_repeats:
            forbidden = torch.tensor(allowed, device=previous.device) == previous[:, None]  # (B, n)
        if guard is not None:
            stuck = guard.forbidden()  # (B, K)
            stuck = F.pad(stuck, (logits.shape[1] - stuck.shape[1], 0))  # END, if it may come
            forbidden = stuck if forbidden is None else forbidden | stuck
        ids = draw(logits, options.sampling, generators, options.name, forbidden)
        previous = (ids + allowed.start).repeat(2 if options.guide else 1)
        if some_known:
            previous = torch.where(masks.wanted[:, step] >= 0, masks.wanted[:, step], previous)
        if options.progress:
            options.progress(1)
        if guard is not None:
            guard.push((previous - FIRST_SEMANTIC).clamp(min=0))  # a row that is over goes on
        yield previous[: len(ids)]
        if options.until_end and kind == SEMANTIC:
            ended |= previous == END
            if bool(ended.all()):
                return


def continue_semantic(
    transformer: Transformer,
    semantic: SemanticIds,
    steps: int,
    context: int,
    options: DecodingOptions,
) -> Iterator[Streams]:
    """`steps` new semantic ids, (B, 1) by (B, 1), fewer if all rows end; `context` to a window.

    With repeats removed from the sequence, they are ids without repeats. Ids after a row's end are
    `PAD`; the last piece, of no ids, says which rows have `ended`.
    """
    layout, history, made = transformer.layout, semantic, 0
    guard = _guard(layout, semantic, options)
    ended = torch.zeros(len(semantic), dtype=torch.bool, device=semantic.device)
    while made < steps and not bool(ended.all()):
        tokens = layout.tokens_from(history).amax(0)  # (S,), falling
        if len(tokens) and int(tokens[0]) >= context:
            start = int((tokens > context // 2).sum())
            history, tokens = history[:, start:], tokens[start:]
        used = int(tokens[0]) if len(tokens) else 0
        room = min(context - used, steps - made)
        flat = layout.flatten(Streams(F.pad(history, (0, room), value=MASK)))
        window = []
        masks = Masks(layout, flat)
        for ids in fill(transformer, flat, masks, options, [options.generator], guard):
            ended = ended | (ids == END)
            if not bool(ended.all()):
                fresh = ids - FIRST_SEMANTIC
                yield Streams(fresh.masked_fill(ended, PAD)[:, None])
                window.append(fresh.clamp(min=0))  # a row that is over goes on unheard
        made += room
        history = torch.cat([history, *(fresh[:, None] for fresh in window)], dim=1)
    yield Streams(semantic[:, :0], ended=ended)


def _guard(
    layout: Layout, semantic: SemanticIds, options: DecodingOptions
) -> RepetitionGuard | None:
    """What keeps from silences and loops that go on from the ids (B, S); None without limits."""
    if options.repetition is None:
        return None
    clusters, without_repeats = layout.config.clusters, layout.config.remove_repeats
    return RepetitionGuard(options.repetition, clusters, semantic, without_repeats)


def fill_middle(
    transformer: Transformer, given: Streams, steps: int, context: int, options: DecodingOptions
) -> Iterator[Streams]:
    """`steps` new semantic ids, (B, 1) by (B, 1), that stand between two sides that are known.

    As much is seen of each side, next to the gap, as leaves the whole no longer than `context`.

    Args:
        transformer: one whose layout fills the middle.
        given: `semantic` (B, S) before the gap, perhaps none; `far` (B, S') after it; whether the
            recording has `ended` after that.
        steps: how many ids come between; no end is drawn.
        context: ids in a window.
        options: how they are drawn.
    """
    assert given.semantic is not None
    assert given.far is not None
    side = max(1, (context - steps) // 2)
    near = given.semantic[:, max(0, given.semantic.shape[1] - side) :]
    ended = given.ended if given.far.shape[1] <= side else None
    guard = _guard(transformer.layout, near, options)
    near = F.pad(near, (0, steps), value=MASK)
    flat = transformer.layout.flatten(Streams(near, ended=ended, far=given.far[:, :side]))
    masks = Masks(transformer.layout, flat)
    for ids in fill(transformer, flat, masks, options, [options.generator], guard):
        yield Streams((ids - FIRST_SEMANTIC)[:, None])


def continue_codes(
    transformer: Transformer,
    semantic: SemanticSource,
    codes: Codes,
    steps: int,
    context: int,
    options: DecodingOptions,
) -> Iterator[Streams]:
    """The prompt's frames `codes` (B, Q', F), then `steps` new ones, each as soon as it is made.

    `context` frames to a window, which is all that is kept. `semantic` is asked as late as can be
    (acoustic_only: what it gives is unused): where the ids stand in front, those of a window when
    it begins; else those of a frame, and those shown ahead of time, when the frame comes.
    """
    layout, start, known = transformer.layout, 0, codes.shape[2]
    levels, end = len(layout.kinds), known + steps
    yield Streams(codes=codes)
    # Without a prefix, the ids shown ahead of time need not end where the window ends.
    ahead = 0 if layout.has_prefix else layout.config.look_ahead
    while known < end:
        if known - start >= context:
            kept = context // 2 - (known - context // 2) % FRAMES_PER_STEP
            start = known - kept  # windows begin with a whole semantic step
            codes = codes[..., codes.shape[2] - kept :]
        stop = min(start + context, end)
        last = stop if layout.has_prefix else known + 1
        ids = semantic(start // FRAMES_PER_STEP, -(-last // FRAMES_PER_STEP) + ahead)
        window = Streams(ids, F.pad(codes, (0, stop - known), value=MASK))
        flat = layout.flatten(with_unconditional_rows(window) if options.guide else window)
        masks = Masks(layout, flat)
        frame: list[Tensor] = []
        frames = [codes]
        step = 0
        for drawn in fill(transformer, flat, masks, options, [options.generator]):
            frame.append(drawn - layout.first_id(layout.kinds[len(frame)]))
            if len(frame) < levels:
                continue
            frames.append(torch.stack(frame, dim=1)[..., None])  # (B, Q', 1)
            yield Streams(codes=frames[-1])
            known, step, frame = known + 1, step + levels, []
            if known < stop and layout.aligned_slots and not layout.has_prefix:
                last = known // FRAMES_PER_STEP + 1 + ahead
                ids = semantic(start // FRAMES_PER_STEP, last)
                beside = layout.beside(ids, known - start)  # (B, C)
                # Rows that are unconditional, where there are any, come last and hear nothing.
                masks.aligned[: len(beside), step : step + levels] = beside[:, None]
        codes = torch.cat(frames, dim=2)


def fill_fine(
    transformer: Transformer, codes: Codes, context: int, options: DecodingOptions
) -> Iterator[Streams]:
    """Codes (B, Q, F) with `MASK` at unknown fine ids, all filled; `context` frames to a chunk.

    Several chunks are filled, and come, together.
    """
    batch, levels, frames = codes.shape
    padded = F.pad(codes, (0, -frames % context), value=PAD)
    chunks = padded.view(batch, levels, -1, context).permute(2, 0, 1, 3)  # (n, B, Q, context)
    for some in chunks.split(max(1, ROWS_AT_ONCE // max(1, batch))):
        some = some.clone()
        unknown = (some == MASK).flatten(1).any(1).nonzero().squeeze(1)
        if len(unknown):
            some[unknown] = _filled_chunks(transformer, some[unknown], options)
        here = some.permute(1, 2, 0, 3).flatten(2)  # (B, Q, F of these chunks)
        yield Streams(codes=here[..., :frames])
        frames -= here.shape[2]


def _filled_chunks(
    transformer: Transformer, chunks: Int[Tensor, "n B Q F"], options: DecodingOptions
) -> Int[Tensor, "n B Q F"]:
    """Chunks with their masks filled, all of them as one batch."""
    rows = chunks.flatten(0, 1)  # (n · B, Q, F)
    frames = int((rows[:, 0] != PAD).sum(1).max())
    flat = transformer.layout.flatten(Streams(codes=rows[..., :frames]))
    masks = Masks(transformer.layout, flat)
    generators = [_next_generator(options.generator) for _ in chunks]
    drawn = torch.stack(list(fill(transformer, flat, masks, options, generators)), dim=1)
    filled = transformer.layout.unflatten(masks.filled(flat, drawn)).codes
    assert filled is not None
    known = rows[..., :frames]
    rows = rows.clone()
    rows[..., :frames] = torch.where(known == MASK, filled, known)
    return rows.view_as(chunks)


def _next_generator(generator: torch.Generator) -> torch.Generator:
    """A generator for one chunk, seeded by the next number of the stage's own."""
    place = generator.device
    seed = torch.randint(2**63 - 1, (), generator=generator, device=place)
    return torch.Generator(place).manual_seed(int(seed))
