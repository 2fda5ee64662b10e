"""Layouts: how named token streams become the one flat sequence of a stage, and back again.

A stage is a next-token Transformer; its layout says next token of what (paper, section III-C):

    semantic       start  z1 z2 ... zS  (end)                               every z and the end
    coarse         start  z1 ... zS  y1,1 ... y1,Q'  y2,1 ... yF,Q'         every y
    fine           start  the coarse codes of all frames  the fine codes    every fine code
    acoustic_only  start  y1,1 ... y1,Q'  y2,1 ... yF,Q'                    every y
                                                                            (is predicted)
    parallel       as coarse: the order in which likelihoods are told; its network reads frames

where z are semantic ids and yt,q is the code of frame t at level q; codes are flattened row by row,
one frame after the other. START stands for the beginning of the window, not of the recording. What
stands in front of the predicted tokens is the paper's way of conditioning ("prefix"). With
"aligned" it is left out, and each position is given, as aligned, the conditioning tokens that
belong to the time of the token it predicts; "both" does both.

A semantic layout with `fill_in_the_middle` also holds rows of two sides, the far one first:

    start  zn+1 ... zS  (end)  SEPARATOR  z1 ... zn

so that what stands between two sides is what comes last: the end of the near side, said in the
knowledge of the far one (suffix, prefix and middle of Bavarian et al. 2022, their SPM order, in
which near side and middle are one stretch of ordinary ids). To each id of the near side is told,
as aligned, how many ids are left until the far side begins. All ids are predicted; the separator
is not.

One layout has one id space: START, END, the K semantic ids, then N ids for each level, then the
SEPARATOR where there is one; streams that the layout does not hold take no room. Rows of a batch
may differ in length; they are padded on the right.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from audiolm.errors import AudioLMError
from audiolm.shapes import FRAMES_PER_STEP, FlatIds, SemanticIds
from audiolm.stages.attention import bucket
from audiolm.stages.layout_config import LayoutConfig
from audiolm.stages.segments import Flat, Segment, flat
from audiolm.stages.streams import MASK, PAD, Streams, closed, is_repeat

START = 0
END = 1
FIRST_SEMANTIC = 2
"""Flat ids of every layout; END lies next to the semantic ids, so that they are one range."""

SEMANTIC = 0
"""Kind of a semantic token (and of END); a code of level q, counted from 1, is of kind q."""

COUNTDOWN, FURTHEST = 64, 512
"""How many numbers of ids left until the far side are told apart: each up to half of that many,
then ever more together; from the furthest on all are one."""


class Layout:
    """The two inverse maps of one `LayoutConfig`, and what is known about each flat position."""

    def __init__(self, config: LayoutConfig) -> None:
        roles, coarse, every = config.roles, config.coarse_levels, config.levels
        self.config = config
        self.roles = roles
        self.has_prefix = roles.conditioning and config.conditioning != "aligned"
        """Conditioning stands in front of the predicted tokens."""
        self.levels = every if roles.fine else coarse if roles.coarse else 0
        """Levels that have ids: levels 1 to this many are read or predicted."""
        if roles.semantic == "predicted":
            kinds, classes = range(SEMANTIC, SEMANTIC + 1), config.clusters + 1
        else:
            first = 1 if roles.coarse == "predicted" else coarse + 1
            kinds, classes = range(first, self.levels + 1), config.codebook_size
        self.kinds = kinds
        """Kinds that are predicted, in the order of a frame."""
        self.classes = classes
        """How many ids each predicted kind has (the semantic ids and END, or N codes)."""
        beside_semantic = roles.semantic == "conditioning"
        self.aligned_size = config.clusters if beside_semantic else config.codebook_size
        """Aligned ids are ids below this (they are not ids of the flat vocabulary)."""
        slots = (config.look_ahead + 1) * (1 if beside_semantic else coarse)
        self.aligned_slots = slots if roles.conditioning and config.conditioning != "prefix" else 0
        """C, aligned per position."""
        if config.fill_in_the_middle:  # a countdown stands beside
            self.aligned_size, self.aligned_slots = COUNTDOWN, 1

    @property
    def vocabulary(self) -> int:
        """V, how many flat ids there are."""
        return self.first_id(self.levels + 1) + bool(self.config.fill_in_the_middle)

    @property
    def separator(self) -> int:
        """The flat id between two sides: the last one, where the layout fills the middle."""
        return self.vocabulary - 1

    def first_id(self, kind: int) -> int:
        """The first flat id of a kind; END counts as the first of the semantic kind."""
        if kind == SEMANTIC:
            return END
        first_code = FIRST_SEMANTIC + (self.config.clusters if self.roles.semantic else 0)
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
        semantic, codes = self.checked(streams)
        split = self.config.coarse_levels
        segments = []
        if semantic is not None and self.roles.semantic == "predicted":
            segments += self._said(semantic, self._checked_far(streams), streams.ended)
        elif semantic is not None and self.has_prefix:
            segments.append(self._semantic_segment(semantic))
        if codes is not None and self.roles.coarse == "predicted":
            segments.append(self._code_segment(codes, 1, semantic))
        if codes is not None and self.roles.coarse == "conditioning":
            if self.has_prefix:
                segments.append(self._code_segment(codes[:, :split], 1))
            segments.append(self._code_segment(codes[:, split:], split + 1, codes[:, :split]))
        return flat(segments, START)

    def unflatten(self, ids: FlatIds) -> Streams:
        """Flat sequences to streams: the inverse of `flatten`, as far as the sequence tells.

        Semantic ids come back with their repeats removed if the layout removes them; with aligned
        conditioning, the conditioning is not in the sequence: no semantic ids (coarse), or `PAD`
        at the coarse levels (fine). A frame that is not complete is left out.
        """
        roles, split = self.roles, self.config.coarse_levels
        semantic = ended = codes = far = None
        if roles.semantic == "predicted":
            ended = (ids == END).any(1)
        if self.config.fill_in_the_middle:
            later = (ids == self.separator).flip(1).cumsum(1).flip(1) > 0  # (B, L) before it
            if bool(later.any()):
                far = self._subsequence(
                    ids.masked_fill(~later, PAD), FIRST_SEMANTIC, self.config.clusters
                )
                ids = ids.masked_fill(later, PAD)
        if roles.semantic == "predicted" or (roles.semantic and self.has_prefix):
            semantic = self._subsequence(ids, FIRST_SEMANTIC, self.config.clusters)
        if roles.coarse == "predicted":
            codes = self._frames(ids, 1, self.levels)
        if roles.coarse == "conditioning":
            fine = self._frames(ids, split + 1, self.levels)
            coarse = self._frames(ids, 1, split)
            if not self.has_prefix:
                coarse = fine.new_full((len(ids), split, fine.shape[2]), PAD)
            frames = min(coarse.shape[2], fine.shape[2])
            codes = torch.cat([coarse[..., :frames], fine[..., :frames]], dim=1)
        return Streams(semantic, codes, ended, far=far)

    def tokens_from(self, semantic: SemanticIds) -> Int[Tensor, "B S"]:
        """How many semantic tokens (B, S) a window holds that begins at each step: its length."""
        counted = torch.ones_like(semantic)
        if self.config.remove_repeats:
            counted = counted - is_repeat(semantic).long()
        return counted.flip(1).cumsum(1).flip(1) - counted + 1  # the first is never a repeat

    def beside(self, semantic: SemanticIds, frame: int) -> Int[Tensor, "B C"]:
        """What of the ids (B, S) of a window is aligned with its frame `frame`: (B, C)."""
        now, shown = frame // FRAMES_PER_STEP, self.config.look_ahead + 1
        ids = semantic[:, now : now + shown]
        return F.pad(ids, (0, shown - ids.shape[1]), value=PAD)

    def checked(self, streams: Streams) -> tuple[Tensor | None, Tensor | None]:
        """The semantic ids (B, S) and the codes (B, q, F) that this layout reads, in range.

        Raises:
            AudioLMError: as `flatten`.
        """
        kind, semantic, codes = self.config.kind, None, None
        if self.roles.semantic:
            if streams.semantic is None:
                raise AudioLMError(f"{kind} stage: streams have no semantic ids; give (B, S) ids")
            semantic = streams.semantic
            _check_range(semantic, self.config.clusters, f"{kind} stage: semantic ids")
        if self.roles.codes:
            if streams.codes is None or streams.codes.shape[1] < self.levels:
                raise AudioLMError(f"{kind} stage: streams need codes of {self.levels} levels")
            codes = streams.codes[:, : self.levels]
            _check_range(codes, self.config.codebook_size, f"{kind} stage: codes")
        return semantic, codes

    def _checked_far(self, streams: Streams) -> Tensor | None:
        """The far side (B, S'), in range; None where no row has one."""
        if streams.far is None:
            return None
        if not self.config.fill_in_the_middle:
            raise AudioLMError(
                f"{self.config.kind} stage: a far side is given, but it has not learnt to fill the "
                "middle; train it with layout.fill_in_the_middle"
            )
        _check_range(streams.far, self.config.clusters, f"{self.config.kind} stage: far side")
        return streams.far

    def _said(self, semantic: Tensor, far: Tensor | None, ended: Tensor | None) -> list[Segment]:
        """Ids that are predicted, and the end: of rows with a far side, that side first."""
        if far is None:
            return [self._semantic_segment(semantic), self._end_segment(ended, semantic)]
        two_sided = (far != PAD).any(1)  # (B,)
        ended = torch.zeros_like(two_sided) if ended is None else ended
        separator = torch.where(two_sided, self.separator, PAD)[:, None]  # (B, 1)
        near = self._semantic_segment(semantic)
        left = (near.ids != PAD).flip(1).cumsum(1).flip(1)  # (B, S) 1 at the last id
        countdown = bucket(left - 1, COUNTDOWN, FURTHEST).masked_fill(~two_sided[:, None], PAD)
        return [
            self._semantic_segment(far),
            self._end_segment(ended & two_sided, far),
            Segment(separator, torch.full_like(separator, -1), self._no_aligned(separator)),
            Segment(near.ids, near.kinds, countdown[..., None]),
            self._end_segment(ended & ~two_sided, semantic),
        ]

    def _semantic_segment(self, semantic: Tensor) -> Segment:
        if self.config.remove_repeats:
            semantic = torch.where(is_repeat(semantic), PAD, semantic)
        ids = torch.where(semantic >= 0, semantic + FIRST_SEMANTIC, semantic)  # (B, S)
        kinds = torch.full_like(ids, SEMANTIC if self.roles.semantic == "predicted" else -1)
        return Segment(ids, kinds, self._no_aligned(ids))

    def _end_segment(self, ended: Tensor | None, semantic: Tensor) -> Segment:
        ids = semantic.new_full((len(semantic), 1), PAD)
        if ended is not None:
            ids = torch.where(ended[:, None], END, ids)
        return Segment(ids, torch.full_like(ids, SEMANTIC), self._no_aligned(ids))

    def _code_segment(
        self, codes: Tensor, first_level: int, aligned: Tensor | None = None
    ) -> Segment:
        """Codes (B, q, F) row by row; `first_level` is the level of `codes[:, 0]`."""
        batch, levels, frames = codes.shape
        level = torch.arange(first_level, first_level + levels, device=codes.device)
        offsets = self.first_id(1) + (level - 1) * self.config.codebook_size
        rows = codes.transpose(1, 2)  # (B, F, q)
        ids = torch.where(rows >= 0, rows + offsets, rows).reshape(batch, -1)
        predicted = torch.where(level >= self.kinds.start, level, -1)
        kinds = predicted.repeat(frames).expand(batch, -1)
        if aligned is None or not self.aligned_slots:
            return Segment(ids, kinds, self._no_aligned(ids))
        beside = self._aligned(aligned, frames)  # (B, F, C)
        return Segment(ids, kinds, beside.repeat_interleave(levels, dim=1))

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
        return closed(torch.where(inside, ids - first, PAD))

    def _frames(self, ids: Tensor, first_level: int, last_level: int) -> Tensor:
        """The complete frames of some levels: (B, L) to codes (B, q, F)."""
        levels, size = last_level - first_level + 1, self.config.codebook_size
        tokens = self._subsequence(ids, self.first_id(first_level), levels * size)
        frames = tokens.shape[1] // levels
        rows = tokens[:, : frames * levels].view(len(ids), frames, levels)
        complete = (rows >= 0).all(-1, keepdim=True)
        codes = torch.where(complete, rows % size, PAD).transpose(1, 2)
        return codes[..., : int(complete.sum(1).max()) if frames else 0]


def _check_range(ids: Tensor, count: int, what: str) -> None:
    if ids.numel() and (int(ids.max()) >= count or int(ids.min()) < MASK):
        raise AudioLMError(
            f"{what} lie between {int(ids.min())} and {int(ids.max())}, "
            f"this stage knows 0 to {count - 1}; use the tokens it was trained on"
        )
