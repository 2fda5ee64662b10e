"""What every stage answers to, whatever network is behind it, and in whatever order it decodes.

A stage knows integers only. It is trained on streams (`forward`), judges them (`log_likelihood`)
and completes them (`decode_stream`, `generate`). Some kinds go on after what they are given, token
by token (`AutoregressiveStage`); others fill `MASK` tokens anywhere in it, many at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from audiolm.configuration import Configuration
from audiolm.device import torch_defaults
from audiolm.errors import ConfigurationError
from audiolm.part import Part
from audiolm.shapes import FRAMES_PER_STEP, SAMPLE_RATE, SEMANTIC_HOP, FlatMask
from audiolm.stages.layout import Layout
from audiolm.stages.layout_config import LayoutConfig
from audiolm.stages.sampling import Sampling
from audiolm.stages.streams import Streams


class StageConfig(Configuration):
    """What is set of any stage: what it reads and predicts, and what its ids mean."""

    layout: LayoutConfig
    """Its tokens."""
    context_seconds: float = Field(gt=0.0)
    """Longest stretch of audio it was trained on (paper: 30, 10 and 3 for the three stages)."""
    codec_fingerprint: str = ""
    """The codec whose codes it was trained on."""
    semantic_fingerprint: str = ""
    """The semantic tokenizer whose ids it was trained on."""
    conditioning_dropout: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Share of the training rows that hear no semantic ids, where those are conditioning; a stage
    needs it to be guided (`Sampling.guidance`). None: all hear them."""
    semantic_rate: float = Field(default=SAMPLE_RATE / SEMANTIC_HOP, gt=0.0)
    """Semantic tokens per second after removal of repeats, measured on the training data."""

    @model_validator(mode="after")
    def _something_to_drop(self) -> Self:
        if self.conditioning_dropout and self.layout.roles.semantic != "conditioning":
            raise ConfigurationError(
                f"conditioning_dropout: the {self.layout.kind} stage has no semantic ids as "
                "conditioning; set it to null"
            )
        return self

    @property
    def context_frames(self) -> int:
        """Codec frames in a window of `context_seconds`, whole semantic steps."""
        steps = round(self.context_seconds * SAMPLE_RATE / SEMANTIC_HOP)
        return FRAMES_PER_STEP * max(1, steps)


@dataclass(frozen=True)
class StageLoss:
    """What a training step needs, and what it logs."""

    loss: Float[Tensor, ""]
    """Mean cross-entropy in nats over the predicted tokens."""
    tokens: Int[Tensor, ""]
    """How many tokens were predicted."""
    correct: Int[Tensor, ""]
    """How many of them had the highest logit of their kind."""
    kinds: dict[str, Float[Tensor, ""]]
    """The same mean for each kind that occurs: "semantic", "level 1", ...; without gradient."""
    counts: dict[str, int]
    """How many tokens of each of these kinds were predicted."""


@dataclass(frozen=True)
class LogLikelihood:
    """Natural logarithms of probabilities, over one batch."""

    total: Float[Tensor, "B"]
    """(B,) sum over the predicted tokens of each row."""
    per_token: Float[Tensor, "B L"]
    """(B, L) of the token after each flat position; 0 where none is predicted."""
    predicted: FlatMask
    """(B, L) where one is."""


class Stage(Part, ABC):
    """One network over the tokens of one layout."""

    config: StageConfig
    layout: Layout

    @abstractmethod
    def forward(self, streams: Streams) -> StageLoss:
        """The loss of predicting the streams, with gradients.

        Raises:
            AudioLMError: streams that do not fit this stage, or hold nothing to predict.
        """

    @abstractmethod
    def rows_by_id(self) -> Iterator[tuple[int, int, Float[Tensor, "n D"]]]:
        """The weights that have a row for each id: kind, place, and the rows (n, D), a view.

        The kind is 0 of semantic ids and q of codes of level q; row i is that of id i. Place 0 is
        where ids are read or predicted, each place from 1 on one where they are conditioning.
        """

    @abstractmethod
    def log_likelihood(self, streams: Streams) -> LogLikelihood:
        """log p of the predicted tokens given the conditioning; rows may be padded.

        Raises:
            AudioLMError: streams that do not fit this stage.
        """

    @abstractmethod
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
        """`generate`, in pieces that are final as soon as they come; at least one, in order.

        The pieces put together along time are what `generate` returns: new semantic ids (B, n), or
        codes (B, q, n) from the first frame of `given` on, known frames first; n may be 0. Which
        rows `ended` is said by the last piece. Work is done as pieces are asked for, and between
        two pieces nothing of PyTorch's state is changed: other stages may take turns.

        Args and Raises: as `generate`; what does not fit is refused at the call.
        """

    def generate(
        self,
        given: Streams,
        *,
        steps: int,
        sampling: Sampling,
        generator: torch.Generator,
        until_end: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Streams:
        """Complete the streams (paper, section III-D): all of `decode_stream` at once.

        Args:
            given: what is known, rows of one length. Codes (B, Q, F) may hold `MASK` where a stage
                of this kind can fill it in; what is known is never changed. A stage that goes on
                frame by frame may ask for semantic ids when it needs them (`Streams.later`).
            steps: how many semantic ids, or codec frames, come after what is given; 0 where only
                masks are to be filled.
            sampling: how ids are drawn.
            generator: the only source of randomness.
            until_end: let a stage that predicts semantic ids draw the end, and stop when all rows
                have.
            progress: called with how many positions (of all rows at once) have been filled since.

        Returns:
            A stage that predicts semantic ids: the new ones alone, (B, steps), without repeats if
            the layout removes them (`stretch` puts them on the 25 Hz clock), -1 after a row's end,
            and which rows `ended`. Others: `codes` of all frames, given and new, (B, q, F + steps),
            q the levels that the stage reads or predicts.

        Raises:
            AudioLMError: streams that do not fit this stage, or output that is not finite.
        """
        pieces = list(
            self.decode_stream(
                given,
                steps=steps,
                sampling=sampling,
                generator=generator,
                until_end=until_end,
                progress=progress,
            )
        )
        semantic = [piece.semantic for piece in pieces if piece.semantic is not None]
        codes = [piece.codes for piece in pieces if piece.codes is not None]
        return Streams(
            semantic=torch.cat(semantic, dim=1) if semantic else None,
            codes=torch.cat(codes, dim=2) if codes else None,
            ended=pieces[-1].ended,
        )

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def _name(self) -> str:
        """The stage, as errors call it."""
        return f"{self.config.layout.kind} stage"

    @property
    def _context_frames(self) -> int:
        """Codec frames in a window of `context_seconds`, whole semantic steps."""
        steps = round(self.config.context_seconds * SAMPLE_RATE / SEMANTIC_HOP)
        return FRAMES_PER_STEP * max(1, steps)

    def _one_by_one(self, pieces: Iterator[Streams]) -> Iterator[Streams]:
        """The pieces, each made in evaluation mode; between them all state is the caller's."""
        while True:
            with self._evaluating():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """No dropout and no gradients for a while, in float32 whatever the caller has set."""
        was_training = self.training
        if was_training:
            self.eval()
        try:
            with torch.no_grad(), torch_defaults(self._device):
                yield
        finally:
            if was_training:
                self.train()
