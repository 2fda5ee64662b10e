"""Layouts: how named token streams become the one flat sequence of a stage, and back again.

A stage is a next-token Transformer; its layout says next token of what (paper, section III-C):

    semantic       start  z1 z2 ... zS  (end)                               every z and the end
    coarse         start  z1 ... zS  y1,1 ... y1,Q'  y2,1 ... yF,Q'         every y
    fine           start  the coarse codes of all frames  the fine codes    every fine code
    acoustic_only  start  y1,1 ... y1,Q'  y2,1 ... yF,Q'                    every y
                                                                            (is predicted)

where z are semantic ids and yt,q is the code of frame t at level q; codes are flattened row by row,
one frame after the other. START stands for the beginning of the window, not of the recording. What
stands in front of the predicted tokens is the paper's way of conditioning ("prefix"). With
"aligned" it is left out, and each position is given, as aligned, the conditioning tokens that
belong to the time of the token it predicts; "both" does both.

One layout has one id space: START, END, the K semantic ids, then N ids for each level; streams that
the layout does not hold take no room. Rows of a batch may differ in length; they are padded on the
right.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from pydantic import Field, model_validator
from torch import Tensor

from audiolm.configuration import Configuration
from audiolm.errors import AudioLMError, ConfigurationError
from audiolm.shapes import FRAMES_PER_STEP, Codes, FlatIds, FlatMask, SemanticIds

StageKind = Literal["semantic", "coarse", "fine", "acoustic_only"]

PAD = -1
"""Nothing here: past the end of a row, in streams and in flat sequences."""

MASK = -2
"""There is a token here, but it is not known yet: generation will draw it."""

START = 0
END = 1
FIRST_SEMANTIC = 2
"""Flat ids of every layout; END lies next to the semantic ids, so that they are one range."""

SEMANTIC = 0
"""Kind of a semantic token (and of END); a code of level q, counted from 1, is of kind q."""


@dataclass(frozen=True)
class Streams:
    """What a stage reads and writes. `PAD` (-1) fills rows that are shorter than others."""

    semantic: SemanticIds | None = None
    """(B, S) ids on the 25 Hz clock, repeats present."""
    codes: Codes | None = None
    """(B, Q, F) ids; only complete frames."""
    ended: Bool[Tensor, "B"] | None = None
    """(B,) the recording ends where the semantic ids end, so an end-of-sequence follows."""


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


class LayoutConfig(Configuration):
    """Which tokens a stage reads and predicts, and in which order."""

    kind: StageKind
    """Which of the four sequences."""
    clusters: int = Field(default=1024, ge=2)
    """K, number of semantic ids."""
    codebook_size: int = Field(default=1024, ge=1)
    """N, ids per level of the codec."""
    coarse_levels: int = Field(default=4, ge=1)
    """Q', levels that the coarse (or acoustic_only) stage predicts."""
    levels: int = Field(default=12, ge=1)
    """Q, levels of the codec."""
    remove_repeats: bool = True
    """Merge consecutive equal semantic ids (in the semantic stage and in the coarse prefix)."""
    conditioning: Literal["prefix", "aligned", "both"] = "prefix"
    """Conditioning (of coarse and fine) stands in front, goes along in time, or both."""
    look_ahead: int = Field(default=0, ge=0)
    """With aligned: how many later semantic steps (coarse) or frames (fine) are shown as well."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.levels < self.coarse_levels or (
            self.kind == "fine" and self.levels == self.coarse_levels
        ):
            raise ConfigurationError(
                f"layout.levels: {self.levels} leaves the {self.kind} stage no level after "
                f"coarse_levels = {self.coarse_levels}; lower coarse_levels"
            )
        if self.conditioning == "prefix" and self.look_ahead:
            raise ConfigurationError(
                "layout.look_ahead: a prefix shows all conditioning already; "
                "set it to 0 or conditioning to aligned"
            )
        if self.kind == "coarse" and self.conditioning != "prefix" and self.remove_repeats:
            raise ConfigurationError(
                "layout.remove_repeats: aligned conditioning needs one semantic id every 40 ms; "
                "set remove_repeats to false"
            )
        return self


class Layout:
    """The two inverse maps of one `LayoutConfig`, and what is known about each flat position."""

    def __init__(self, config: LayoutConfig) -> None:
        kind, coarse, every = config.kind, config.coarse_levels, config.levels
        conditioned = kind in ("coarse", "fine")
        self.config = config
        self.has_prefix = conditioned and config.conditioning != "aligned"
        """Conditioning stands in front of the predicted tokens."""
        self.levels = {"semantic": 0, "coarse": coarse, "fine": every, "acoustic_only": coarse}[
            kind
        ]
        """Levels that have ids: levels 1 to this many are read or predicted."""
        self.kinds = {
            "semantic": range(SEMANTIC, SEMANTIC + 1),
            "coarse": range(1, coarse + 1),
            "fine": range(coarse + 1, every + 1),
            "acoustic_only": range(1, coarse + 1),
        }[kind]
        """Kinds that are predicted, in the order of a frame."""
        self.classes = config.clusters + 1 if kind == "semantic" else config.codebook_size
        """How many ids each predicted kind has (the semantic ids and END, or N codes)."""
        self.aligned_size = config.clusters if kind == "coarse" else config.codebook_size
        """Aligned ids are ids below this (they are not ids of the flat vocabulary)."""
        slots = (config.look_ahead + 1) * (coarse if kind == "fine" else 1)
        self.aligned_slots = slots if conditioned and config.conditioning != "prefix" else 0
        """C, aligned per position."""

    @property
    def vocabulary(self) -> int:
        """V, how many flat ids there are."""
        return self.first_id(self.levels + 1)

    def first_id(self, kind: int) -> int:
        """The first flat id of a kind; END counts as the first of the semantic kind."""
        if kind == SEMANTIC:
            return END
        has_semantic = self.config.kind in ("semantic", "coarse")
        first_code = FIRST_SEMANTIC + (self.config.clusters if has_semantic else 0)
        return first_code + (kind - 1) * self.config.codebook_size

    def allowed(self, kind: int, *, end: bool = False) -> range:
        """The flat ids that may come where a token of `kind` comes next.

        Args:
            kind: as in `Flat.kinds`.
            end: whether the sequence may end here (matters to the semantic kind alone).
        """
        first = self.first_id(kind)
        return range(first + (kind == SEMANTIC and not end), first + self.classes)

    def flatten(self, streams: Streams) -> Flat:
        """Streams to flat sequences.

        The streams are laid side by side with holes where a row has no token (padding, removed
        repeats), then the holes are closed; what is known about a token moves along with it.

        Raises:
            AudioLMError: a stream is missing, has too few levels, or ids out of range.
        """
        semantic, codes = self._checked(streams)
        split = self.config.coarse_levels
        tokens = []
        if semantic is not None and (self.config.kind == "semantic" or self.has_prefix):
            tokens.append(self._semantic_tokens(semantic))
        if self.config.kind == "semantic":
            assert semantic is not None
            tokens.append(self._end_token(streams.ended, semantic))
        elif self.config.kind == "fine":
            assert codes is not None
            if self.has_prefix:
                tokens.append(self._code_tokens(codes[:, :split], 1))
            tokens.append(self._code_tokens(codes[:, split:], split + 1, codes[:, :split]))
        else:
            assert codes is not None
            tokens.append(self._code_tokens(codes, 1, semantic))
        return _closed(_joined([_start_token(tokens[0]), *tokens]))

    def unflatten(self, ids: FlatIds) -> Streams:
        """Flat sequences to streams: the inverse of `flatten`, as far as the sequence tells.

        Semantic ids come back with their repeats removed if the layout removes them; with aligned
        conditioning, the conditioning is not in the sequence: no semantic ids (coarse), or `PAD`
        at the coarse levels (fine). A frame that is not complete is left out.
        """
        kind, split = self.config.kind, self.config.coarse_levels
        semantic = ended = codes = None
        if kind == "semantic":
            ended = (ids == END).any(1)
        if kind == "semantic" or (kind == "coarse" and self.has_prefix):
            semantic = self._subsequence(ids, FIRST_SEMANTIC, self.config.clusters)
        if kind == "fine":
            fine = self._frames(ids, split + 1, self.levels)
            coarse = self._frames(ids, 1, split)
            if not self.has_prefix:
                coarse = fine.new_full((len(ids), split, fine.shape[2]), PAD)
            frames = min(coarse.shape[2], fine.shape[2])
            codes = torch.cat([coarse[..., :frames], fine[..., :frames]], dim=1)
        elif kind != "semantic":
            codes = self._frames(ids, 1, self.levels)
        return Streams(semantic, codes, ended)

    def tokens_from(self, semantic: SemanticIds) -> Int[Tensor, "B S"]:
        """How many semantic tokens (B, S) a window holds that begins at each step: its length."""
        kept = torch.ones_like(semantic)
        if self.config.remove_repeats:
            kept = kept - _is_repeat(semantic).long()
        return kept.flip(1).cumsum(1).flip(1) - kept + 1  # the first step is never a repeat

    def _checked(self, streams: Streams) -> tuple[Tensor | None, Tensor | None]:
        """The semantic ids and the codes that this layout reads, in range."""
        kind, semantic, codes = self.config.kind, None, None
        if kind in ("semantic", "coarse"):
            if streams.semantic is None:
                raise AudioLMError(f"{kind} stage: streams have no semantic ids; give (B, S) ids")
            semantic = streams.semantic
            _check_range(semantic, self.config.clusters, f"{kind} stage: semantic ids")
        if kind != "semantic":
            if streams.codes is None or streams.codes.shape[1] < self.levels:
                raise AudioLMError(f"{kind} stage: streams need codes of {self.levels} levels")
            codes = streams.codes[:, : self.levels]
            _check_range(codes, self.config.codebook_size, f"{kind} stage: codes")
        return semantic, codes

    def _semantic_tokens(self, semantic: Tensor) -> "_Tokens":
        if self.config.remove_repeats:
            semantic = torch.where(_is_repeat(semantic), PAD, semantic)
        ids = torch.where(semantic >= 0, semantic + FIRST_SEMANTIC, semantic)  # (B, S)
        kinds = torch.full_like(ids, SEMANTIC if self.config.kind == "semantic" else -1)
        return _Tokens(ids, kinds, self._no_aligned(ids))

    def _end_token(self, ended: Tensor | None, semantic: Tensor) -> "_Tokens":
        ids = semantic.new_full((len(semantic), 1), PAD)
        if ended is not None:
            ids = torch.where(ended[:, None], END, ids)
        return _Tokens(ids, torch.full_like(ids, SEMANTIC), self._no_aligned(ids))

    def _code_tokens(
        self, codes: Tensor, first_level: int, aligned: Tensor | None = None
    ) -> "_Tokens":
        """Codes (B, q, F) row by row; `first_level` is the level of `codes[:, 0]`."""
        batch, levels, frames = codes.shape
        level = torch.arange(first_level, first_level + levels, device=codes.device)
        offsets = self.first_id(1) + (level - 1) * self.config.codebook_size
        rows = codes.transpose(1, 2)  # (B, F, q)
        ids = torch.where(rows >= 0, rows + offsets, rows).reshape(batch, -1)
        predicted = torch.where(level >= self.kinds.start, level, -1)
        kinds = predicted.repeat(frames).expand(batch, -1)
        if aligned is None or not self.aligned_slots:
            return _Tokens(ids, kinds, self._no_aligned(ids))
        beside = self._aligned(aligned, frames)  # (B, F, C)
        return _Tokens(ids, kinds, beside.repeat_interleave(levels, dim=1))

    def _aligned(self, conditioning: Tensor, frames: int) -> Tensor:
        """Conditioning (B, S) or (B, Q', F) at the time of each frame, and in its look-ahead."""
        frames_each = FRAMES_PER_STEP if conditioning.ndim == 2 else 1
        time = torch.arange(frames, device=conditioning.device) // frames_each
        steps = conditioning.view(len(conditioning), -1, conditioning.shape[-1])  # (B, 1 or Q', S)
        padded = F.pad(steps, (0, frames + self.config.look_ahead), value=PAD)
        shown = [padded[:, :, time + ahead] for ahead in range(self.config.look_ahead + 1)]
        return torch.cat(shown, dim=1).transpose(1, 2)  # (B, F, C): now, one later, ...

    def _no_aligned(self, ids: Tensor) -> Tensor:
        return ids.new_full((*ids.shape, self.aligned_slots), PAD)

    def _subsequence(self, ids: Tensor, first: int, count: int) -> Tensor:
        """The ids of one range, counted from 0, holes closed: (B, L) to (B, fewer)."""
        inside = (ids >= first) & (ids < first + count)
        return _close(torch.where(inside, ids - first, PAD))

    def _frames(self, ids: Tensor, first_level: int, last_level: int) -> Tensor:
        """The complete frames of some levels: (B, L) to codes (B, q, F)."""
        levels, size = last_level - first_level + 1, self.config.codebook_size
        tokens = self._subsequence(ids, self.first_id(first_level), levels * size)
        frames = tokens.shape[1] // levels
        rows = tokens[:, : frames * levels].view(len(ids), frames, levels)
        complete = (rows >= 0).all(-1, keepdim=True)
        codes = torch.where(complete, rows % size, PAD).transpose(1, 2)
        return codes[..., : int(complete.sum(1).max()) if frames else 0]


def remove_repeats(ids: SemanticIds) -> Int[Tensor, "B s"]:
    """Merge consecutive equal ids (paper, IV-B): (B, S) to (B, S'), S' <= S, padded with -1."""
    return _close(torch.where(_is_repeat(ids), PAD, ids))


def stretch(ids: Int[Tensor, "*B s"], length: int) -> Int[Tensor, "*B S"]:
    """Spread ids without repeats evenly over `length` steps of the 25 Hz clock, each held in turn.

    Raises:
        AudioLMError: there are no ids to hold, or more ids than steps.
    """
    count = ids.shape[-1]
    if count > length or (length and not count):
        raise AudioLMError(f"cannot stretch {count} semantic ids to {length} steps; ask for more")
    return ids[..., torch.arange(length, device=ids.device) * count // max(length, 1)]


@dataclass(frozen=True)
class _Tokens:
    """Some tokens of every row, with holes (`PAD`), and what is known about each."""

    ids: Tensor  # (B, n)
    kinds: Tensor  # (B, n): kind if predicted, else -1
    aligned: Tensor  # (B, n, C)


def _start_token(like: _Tokens) -> _Tokens:
    ids = like.ids.new_full((len(like.ids), 1), START)
    aligned = like.aligned.new_full((*ids.shape, like.aligned.shape[-1]), PAD)
    return _Tokens(ids, torch.full_like(ids, -1), aligned)


def _joined(pieces: list[_Tokens]) -> _Tokens:
    return _Tokens(
        torch.cat([piece.ids for piece in pieces], 1),
        torch.cat([piece.kinds for piece in pieces], 1),
        torch.cat([piece.aligned for piece in pieces], 1),
    )


def _closed(tokens: _Tokens) -> Flat:
    """Close the holes, and give each position what is known about the token after it."""
    order = _order(tokens.ids)
    ids = tokens.ids.gather(1, order)
    hole = ids == PAD
    kinds = tokens.kinds.gather(1, order).masked_fill(hole, -1)
    beside = order[..., None].expand(-1, -1, tokens.aligned.shape[-1])
    aligned = tokens.aligned.gather(1, beside).masked_fill(hole[..., None], PAD)
    kinds = F.pad(kinds[:, 1:], (0, 1), value=-1)
    return Flat(
        ids=ids,
        targets=F.pad(ids[:, 1:], (0, 1), value=PAD),
        predicted=kinds >= 0,
        kinds=kinds,
        aligned=F.pad(aligned[:, 1:], (0, 0, 0, 1), value=PAD),
    )


def _order(ids: Tensor) -> Tensor:
    """Columns (B, L') that bring each row's tokens to the front; L' is the longest row."""
    hole = ids == PAD
    longest = int((~hole).sum(1).max()) if ids.numel() else 0
    return torch.argsort(hole.byte(), dim=1, stable=True)[:, :longest]


def _close(ids: Tensor) -> Tensor:
    return ids.gather(1, _order(ids))


def _is_repeat(ids: Tensor) -> Tensor:
    same = (ids[:, 1:] == ids[:, :-1]) & (ids[:, 1:] != MASK)
    return F.pad(same, (1, 0), value=False)[:, : ids.shape[1]]


def _check_range(ids: Tensor, count: int, what: str) -> None:
    if ids.numel() and (int(ids.max()) >= count or int(ids.min()) < MASK):
        raise AudioLMError(
            f"{what} lie between {int(ids.min())} and {int(ids.max())}, "
            f"this stage knows 0 to {count - 1}; use the tokens it was trained on"
        )
