"""The stage of the paper (section III-C): one next-token Transformer over one flat sequence.

Semantic ids and coarse codes go on after what is given; fine codes are filled in beside the coarse
ones.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from audiolm.errors import AudioLMError
from audiolm.shapes import FRAMES_PER_STEP, SAMPLE_RATE, SEMANTIC_HOP
from audiolm.stages.cache import quick_weights
from audiolm.stages.contract import LogLikelihood, Stage, StageConfig, StageLoss
from audiolm.stages.decoding import (
    DecodingOptions,
    continue_codes,
    continue_semantic,
    fill_fine,
    fill_middle,
)
from audiolm.stages.guidance import check_guidance, drop_conditioning
from audiolm.stages.layout import FIRST_SEMANTIC, SEMANTIC, Layout
from audiolm.stages.repetition import RepetitionLimits
from audiolm.stages.sampling import Sampling
from audiolm.stages.segments import Flat
from audiolm.stages.streams import MASK, Streams
from audiolm.stages.transformer import Transformer, TransformerConfig


class AutoregressiveConfig(StageConfig):
    """An autoregressive stage: its tokens, what they mean, and how large its network is."""

    transformer: TransformerConfig = TransformerConfig()
    """The network."""
    repetition: RepetitionLimits | None = None
    """How long the semantic stage may be silent, or repeat itself: as long as its training data."""


class AutoregressiveStage(Stage):
    """One causal Transformer that predicts the next token of its layout's sequence."""

    config: AutoregressiveConfig

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__()
        self.config = config
        self.layout = Layout(config.layout)
        self.transformer = Transformer(config.transformer, self.layout)
        self.decoding_weights: torch.dtype | None = None
        """Type of the weights in decoding; None takes the quickest there is, `quick_weights`."""

    def forward(self, streams: Streams) -> StageLoss:
        """The loss of predicting the streams."""
        if self.training and self.layout.roles.semantic == "conditioning":
            streams = drop_conditioning(streams, self.config.conditioning_dropout)
        flat = self.layout.flatten(streams)
        nats, correct, tokens = [], [], []
        kinds, counts = {}, {}
        for kind, _, logits, targets in self._predictions(flat):
            losses = F.cross_entropy(logits, targets, reduction="none")
            nats.append(losses.sum())
            correct.append((logits.argmax(-1) == targets).sum())
            tokens.append(len(targets))
            name = "semantic" if kind == SEMANTIC else f"level {kind}"
            kinds[name], counts[name] = losses.detach().mean(), len(targets)
        if not tokens:
            raise AudioLMError(f"{self._name}: the streams hold no token to predict")
        return StageLoss(
            loss=torch.stack(nats).sum() / sum(tokens),
            tokens=torch.tensor(sum(tokens), device=flat.ids.device),
            correct=torch.stack(correct).sum(),
            kinds=kinds,
            counts=counts,
        )

    def rows_by_id(self) -> Iterator[tuple[int, int, Tensor]]:
        """The rows of the embedding, of the heads and of what is aligned."""
        layout, network = self.layout, self.transformer
        clusters, codes = layout.config.clusters, layout.config.codebook_size
        embedding = network.embedding.weight  # (V, D)
        if layout.roles.semantic:
            yield SEMANTIC, 0, embedding[FIRST_SEMANTIC : FIRST_SEMANTIC + clusters]
        for level in range(1, layout.levels + 1):
            first = layout.first_id(level)
            yield level, 0, embedding[first : first + codes]
        for kind, head in zip(layout.kinds, network.heads, strict=True):
            yield kind, 0, head[1:] if kind == SEMANTIC else head  # END is the first of its kind
        if network.aligned is None or layout.config.fill_in_the_middle:  # a countdown has no ids
            return
        of_slots = network.aligned.weight[1:].unflatten(0, (layout.aligned_slots, -1))
        beside_semantic = layout.roles.semantic == "conditioning"
        for slot, rows in enumerate(of_slots):
            level = 1 + slot % layout.config.coarse_levels
            yield (SEMANTIC if beside_semantic else level), 1 + slot, rows

    def log_likelihood(self, streams: Streams) -> LogLikelihood:
        """log p of the predicted tokens given all before them and the conditioning.

        Rows may be padded. There is no window: the whole sequence is seen at once.
        """
        with self._evaluating():
            flat = self.layout.flatten(streams)
            per_token = torch.zeros(flat.ids.numel(), device=flat.ids.device)
            for _, index, logits, targets in self._predictions(flat):
                per_token[index] = -F.cross_entropy(logits, targets, reduction="none")
            per_token = per_token.view_as(flat.ids)
            return LogLikelihood(per_token.sum(1), per_token, flat.predicted)

    def decode_stream(
        self,
        given: Streams,
        *,
        steps: int,
        sampling: Sampling,
        generator: torch.Generator,
        until_end: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Streams]:
        """Go on after what is given, however long, token by token (paper, section III-D).

        Beyond `context_seconds` the older half of what the stage sees is dropped, again and again;
        the fine stage works in chunks of that length, several at once.

        Args:
            given: semantic stage: `semantic` (B, S), may be empty; with `far` (B, S'), what is made
                stands between the two, and no end is drawn. coarse: `semantic` (B, S) over
                prompt and continuation, or `later`, which gives as many when they are needed;
                `codes` (B, Q', F) of the prompt or None. acoustic_only: `codes` (B, Q', F) or None.
                fine: `codes` (B, Q', F), or (B, Q, F) with `MASK` (or -1) at the fine ids that are
                not known; those that are known are kept.
            steps: new semantic ids, or new codec frames; 0 for the fine stage.
            sampling, generator, until_end, progress: as `Stage.generate`.

        Returns:
            semantic stage: (B, 1) new ids at a time. coarse, acoustic_only: the prompt's frames,
            then one (B, Q', 1) at a time. fine: (B, Q, n), some chunks at a time.

        Raises:
            AudioLMError: streams that do not fit this stage, at once; output that is not finite,
                when it comes.
        """
        with self._evaluating():
            semantic, codes = self._checked(given, steps)
        later = given.later or (lambda start, stop: semantic[:, start:stop])
        guide = check_guidance(sampling, self.config, self._name)
        # Chunks of the fine stage are rows, however many there are: each is to be the same alone.
        several = guide or len(codes) > 1 or self.layout.roles.coarse == "conditioning"
        options = DecodingOptions(
            sampling,
            generator,
            self._name,
            until_end and given.far is None,
            progress,
            self.decoding_weights or quick_weights(self._device, 2 if several else 1),
            self.config.repetition,
            guide,
        )
        if self.layout.roles.semantic == "predicted" and given.far is not None:
            pieces = fill_middle(self.transformer, given, steps, self._context_ids, options)
        elif self.layout.roles.semantic == "predicted":
            pieces = continue_semantic(
                self.transformer, semantic, steps, self._context_ids, options
            )
        elif self.layout.roles.coarse == "conditioning":
            pieces = fill_fine(self.transformer, codes, self.config.context_frames, options)
        else:
            pieces = continue_codes(
                self.transformer, later, codes, steps, self.config.context_frames, options
            )
        return self._one_by_one(pieces)

    @property
    def _context_ids(self) -> int:
        """Semantic tokens in a window of `context_seconds`."""
        rate = SAMPLE_RATE / SEMANTIC_HOP
        if self.config.layout.remove_repeats:
            rate = min(rate, self.config.semantic_rate)
        return max(2, round(self.config.context_seconds * rate))

    def _predictions(self, flat: Flat) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """For each kind: which flat positions (n,) predict it, logits (n, classes), targets (n,).

        The positions count through `flat.ids.flatten()`. Targets count from the kind's first id.
        """
        if not bool(flat.predicted.any()):
            return
        # The last column predicts nothing, so it need not be read.
        hidden = self.transformer(flat.ids[:, :-1], flat.aligned[:, :-1])  # (B, L - 1, D)
        hidden = F.pad(hidden, (0, 0, 0, 1)).flatten(0, 1)
        kinds, targets = flat.kinds.flatten(), flat.targets.flatten()
        for kind in self.layout.kinds:
            index = (kinds == kind).nonzero().squeeze(1)
            if len(index):
                logits = self.transformer.logits(hidden[index], kind).float()
                yield kind, index, logits, targets[index] - self.layout.first_id(kind)

    def _checked(self, given: Streams, steps: int) -> tuple[Tensor, Tensor]:
        """Semantic ids and codes as this stage reads them, empty where absent."""
        levels, roles, coarse = (
            self.layout.levels,
            self.layout.roles,
            self.config.layout.coarse_levels,
        )
        stream = given.semantic if given.codes is None else given.codes
        rows = 1 if stream is None else len(stream)
        semantic = torch.zeros(rows, 0, dtype=torch.long, device=self._device)
        codes = torch.zeros(rows, levels, 0, dtype=torch.long, device=self._device)
        if given.semantic is not None and roles.semantic:
            semantic = given.semantic
        if given.codes is not None and roles.codes:
            codes = given.codes[:, :levels]
        far = given.far is not None and bool((given.far < 0).any())
        if far or bool((semantic < 0).any()) or bool((codes[:, :coarse] < 0).any()):
            raise AudioLMError(
                f"{self._name}: what is given is padded, or holds masks where this stage fills "
                "none; give known ids in rows of one length"
            )
        if codes.shape[1] < min(levels, coarse):
            raise AudioLMError(f"{self._name}: give codes of {coarse} levels")
        if roles.coarse == "conditioning":
            masks = F.pad(codes, (0, 0, 0, levels - codes.shape[1]), value=MASK)
            codes = torch.where(masks < 0, MASK, masks)
        needed = -(-(codes.shape[2] + steps) // FRAMES_PER_STEP)
        here = roles.semantic == "conditioning" and given.later is None
        if here and semantic.shape[1] < needed:
            raise AudioLMError(
                f"{self._name}: {codes.shape[2] + steps} frames need {needed} semantic ids, "
                f"got {semantic.shape[1]}; give more or ask for less"
            )
        return semantic, codes
