"""The parallel stage: coarse codes of all frames at once (SoundStorm, Borsos et al. 2023).

It is to the coarse stage what filling in a form is to dictation: with the semantic ids of all
frames given, any codes that are known are kept, and the others are filled level by level, many
frames at a time. A prompt, a gap between two sides, a level that something else has made: all are
masks in what is given.
"""

import copy
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from audiolm.errors import AudioLMError, ConfigurationError
from audiolm.shapes import FRAMES_PER_STEP, Codes, SemanticIds
from audiolm.stages.contract import LogLikelihood, Stage, StageConfig, StageLoss
from audiolm.stages.frame_transformer import FrameTransformer
from audiolm.stages.guidance import check_guidance, drop_conditioning
from audiolm.stages.layout import SEMANTIC, Layout
from audiolm.stages.masked_decoding import (
    MaskedDecodingOptions,
    fill_windows,
    quick_products,
)
from audiolm.stages.masking import MaskingConfig, draw_masks
from audiolm.stages.sampling import Sampling
from audiolm.stages.streams import MASK, PAD, Streams
from audiolm.stages.transformer import TransformerConfig


class ParallelConfig(StageConfig):
    """A parallel stage: its tokens, its network, how it is trained to fill masks and fills them."""

    transformer: TransformerConfig = TransformerConfig()
    """The network; its blocks see both sides, each with `buckets` of its own."""
    masking: MaskingConfig = MaskingConfig()
    """What is hidden from it in training."""
    passes: tuple[int, ...] = (16, 1, 1, 1)
    """Passes of the network for each level (SoundStorm: 16 for the first, one for each other)."""
    noise: float = Field(default=4.5, ge=0.0)
    """Of the order in which masks are filled: the Gumbel noise on the log-probabilities, in the
    first of a level's passes; it fades to 0 in the last."""
    one_pass_temperature: float = Field(default=0.0, ge=0.0)
    """Highest temperature at a level of one pass, where no frame knows what is drawn for another;
    SoundStorm takes the likeliest code there."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        layout = self.layout
        if layout.roles.semantic != "conditioning" or layout.conditioning != "aligned":
            raise ConfigurationError(
                "layout.conditioning: a parallel stage is given the semantic id of each frame; set "
                "it to aligned"
            )
        if layout.look_ahead:
            raise ConfigurationError(
                "layout.look_ahead: a parallel stage sees the semantic ids of all frames; leave it "
                "out"
            )
        checked_passes(self.passes, layout.coarse_levels)
        return self


def checked_passes(passes: object, levels: int) -> tuple[int, ...]:
    """How many passes each level takes.

    Raises:
        ConfigurationError: not one number for each level, or one below 1.
    """
    given = tuple(passes) if isinstance(passes, Iterable) else (passes,)
    try:
        numbers = tuple(0 if isinstance(n, bool) else operator.index(n) for n in given)
    except TypeError:
        numbers = ()
    if len(numbers) != levels or min(numbers) < 1:
        shown = ",".join(map(str, given)) or "none"
        some = ",".join(["16"] + ["1"] * (levels - 1))
        raise ConfigurationError(
            f"passes: {shown} is not {levels} whole numbers from 1 on, one for each level; e.g. "
            f"{some}"
        )
    return numbers


class ParallelStage(Stage):
    """Fills masks among the coarse codes of all frames, given their semantic ids."""

    config: ParallelConfig

    def __init__(self, config: ParallelConfig) -> None:
        super().__init__()
        self.config = config
        self.layout = Layout(config.layout)
        self.transformer = FrameTransformer(config.transformer, self.layout)
        self.passes = config.passes
        """Of each level, in decoding."""
        self.products: torch.dtype | None = None
        """Type of the matrix products in decoding; None takes the quickest, `quick_products`."""

    def rows_by_id(self) -> Iterator[tuple[int, int, Tensor]]:
        """The rows of both embeddings and of the heads; those of masks are none of an id."""
        network = self.transformer
        of_levels = network.embedding.weight.unflatten(0, (network.levels, -1))  # (Q', N + 1, D)
        for level, (read, predicted) in enumerate(zip(of_levels, network.heads, strict=True), 1):
            yield level, 0, read[:-1]
            yield level, 0, predicted
        yield SEMANTIC, 1, network.semantic.weight[:-1]

    def with_passes(self, passes: Sequence[int]) -> Self:
        """This very network, but with other numbers of passes in decoding.

        Raises:
            ConfigurationError: not one number from 1 on for each level.
        """
        stage = copy.copy(self)
        stage.passes = checked_passes(passes, self.layout.levels)
        return stage

    def forward(self, streams: Streams) -> StageLoss:
        """The loss of predicting what is hidden; the masks are drawn as dropout is.

        The streams are whole, rows may be padded on the right. In training each row is asked of one
        level, drawn; in evaluation mode of every level, one after the other. The loss is the mean
        over all tokens asked.
        """
        if self.training:
            streams = drop_conditioning(streams, self.config.conditioning_dropout)
        semantic, codes = self._read(streams)
        every = range(self.layout.levels)
        nats, correct, kinds, counts = [], [], {}, {}
        for asked_of_all in [None] if self.training else every:
            masked = draw_masks(codes, self.config.masking, level=asked_of_all)
            hidden = self.transformer(masked.codes, semantic)  # (B, F, D)
            for level in every:
                asked = masked.asked & (masked.level == level)[:, None]  # (B, F)
                targets = codes[:, level][asked]  # (n,)
                if not len(targets):
                    continue
                logits = self.transformer.logits(hidden[asked], level).float()  # (n, N)
                losses = F.cross_entropy(logits, targets, reduction="none")
                nats.append(losses.sum())
                correct.append((logits.argmax(-1) == targets).sum())
                name = f"level {level + 1}"
                kinds[name], counts[name] = losses.detach().mean(), len(targets)
        if not counts:
            raise AudioLMError(f"{self._name}: the streams hold no token to predict")
        tokens = sum(counts.values())
        return StageLoss(
            loss=torch.stack(nats).sum() / tokens,
            tokens=torch.tensor(tokens, device=codes.device),
            correct=torch.stack(correct).sum(),
            kinds=kinds,
            counts=counts,
        )

    def log_likelihood(self, streams: Streams) -> LogLikelihood:
        """log p of the codes given the semantic ids, when each level takes one pass.

        With one pass for a level, its codes are independent of each other given those of the
        coarser levels: p is the product of what the network says of each, all codes of its level
        and of the finer ones hidden. That is a distribution that sums to 1, and all it takes is one
        pass for each level. With more passes the order of the masks is drawn too, and no product of
        single probabilities is the likelihood; expect it to be higher.

        Rows may be padded. There is no window: the whole sequence is seen at once.
        """
        with self._evaluating():
            flat = self.layout.flatten(streams)
            semantic, codes = self._read(streams)
            known = codes.clone()
            known[codes >= 0] = MASK
            levels = []
            for level in range(self.layout.levels):
                logits = self.transformer.logits(self.transformer(known, semantic), level)
                targets = codes[:, level]  # (B, F)
                nats = logits.float().log_softmax(-1).gather(2, targets.clamp(min=0)[..., None])
                levels.append(nats.squeeze(2))
                known[:, level] = targets
            # Frame by frame, as the layout has them; the last position predicts nothing.
            rows = torch.stack(levels, dim=2).flatten(1)  # (B, F * Q')
            rows = F.pad(rows, (0, 1))[:, : flat.ids.shape[1]]
            per_token = rows.masked_fill(~flat.predicted, 0.0)
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
        """Fill every mask, and `steps` frames more, level by level.

        Beyond `context_seconds` it works in windows of that length, from left to right.

        Args:
            given: `semantic` (B, S) over all frames, and `codes` (B, q, F) with `MASK` wherever
                they are not known, or None; levels that are left out are not known.
            steps: frames after those.
            sampling, generator, progress: as `Stage.generate`.
            until_end: means nothing to this stage.

        Returns:
            The frames before the first mask, then (B, Q', n), a window at a time.

        Raises:
            AudioLMError: streams that do not fit this stage, at once; output that is not finite,
                when it comes.
        """
        with self._evaluating():
            semantic, codes = self._given(given, steps)
        check_guidance(sampling, self.config, self._name)
        options = MaskedDecodingOptions(
            self.passes,
            sampling,
            self.config.noise,
            self.config.one_pass_temperature,
            generator,
            self._name,
            progress,
            self.products or quick_products(self._device),
        )
        pieces = fill_windows(self.transformer, semantic, codes, self._context_frames, options)
        return self._one_by_one(pieces)

    def _given(self, given: Streams, steps: int) -> tuple[SemanticIds, Codes]:
        """Semantic ids and codes of all frames, `MASK` at what is to be filled."""
        levels = self.layout.levels
        semantic, codes = given.semantic, given.codes
        if semantic is None:
            raise AudioLMError(f"{self._name}: streams have no semantic ids; give (B, S) ids")
        if codes is None:
            codes = semantic.new_full((len(semantic), levels, 0), MASK)
        codes = codes[:, :levels]
        codes = F.pad(codes, (0, steps, 0, levels - codes.shape[1]), value=MASK)
        if bool((semantic < 0).any()) or bool((codes == PAD).any()):
            raise AudioLMError(
                f"{self._name}: what is given is padded; give rows of one length, with MASK where "
                "codes are to be filled"
            )
        return self._read(Streams(semantic, codes))

    def _read(self, streams: Streams) -> tuple[Tensor, Tensor]:
        """Semantic ids (B, S) and codes (B, Q', F), which fit each other and this stage."""
        semantic, codes = self.layout.checked(streams)
        assert semantic is not None
        assert codes is not None
        needed = -(-codes.shape[2] // FRAMES_PER_STEP)
        if semantic.shape[1] < needed:
            raise AudioLMError(
                f"{self._name}: {codes.shape[2]} frames need {needed} semantic ids, got "
                f"{semantic.shape[1]}; give more or ask for less"
            )
        return semantic[:, :needed], codes
