"""A stage: one trained Transformer with its layout (paper, section III-C).

It knows integers only. It is trained on streams (`forward`), judges them (`log_likelihood`) and
goes on with them (`generate`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from audiolm.configuration import Configuration
from audiolm.errors import AudioLMError
from audiolm.part import Part
from audiolm.shapes import FRAMES_PER_STEP, SAMPLE_RATE, SEMANTIC_HOP, FlatMask
from audiolm.stages.cache import quick_weights
from audiolm.stages.decoding import Drawing, continue_codes, continue_semantic, fill_fine
from audiolm.stages.layout import MASK, SEMANTIC, Flat, Layout, LayoutConfig, Streams
from audiolm.stages.sampling import Sampling
from audiolm.stages.transformer import Transformer, TransformerConfig


class StageConfig(Configuration):
    """One stage: what it reads and predicts, how large it is, and what its ids mean."""

    layout: LayoutConfig
    """The sequence."""
    transformer: TransformerConfig = TransformerConfig()
    """The network."""
    context_seconds: float = Field(gt=0.0)
    """Longest stretch of audio it was trained on (paper: 30, 10 and 3 for the three stages)."""
    codec_fingerprint: str = ""
    """The codec whose codes it was trained on."""
    semantic_fingerprint: str = ""
    """The semantic tokenizer whose ids it was trained on."""
    semantic_rate: float = Field(default=SAMPLE_RATE / SEMANTIC_HOP, gt=0.0)
    """Semantic tokens per second after removal of repeats, measured on the training data."""


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


@dataclass(frozen=True)
class LogLikelihood:
    """Natural logarithms of probabilities, over one batch."""

    total: Float[Tensor, "B"]
    """(B,) sum over the predicted tokens of each row."""
    per_token: Float[Tensor, "B L"]
    """(B, L) of the token after each flat position; 0 where none is predicted."""
    predicted: FlatMask
    """(B, L) where one is."""


class Stage(Part):
    """One Transformer over one kind of flat sequence."""

    config: StageConfig

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.config = config
        self.layout = Layout(config.layout)
        self.transformer = Transformer(config.transformer, self.layout)
        self.decoding_weights: torch.dtype | None = None
        """Type of the weights in `generate`; None takes the quickest there is, `quick_weights`."""

    def forward(self, streams: Streams) -> StageLoss:
        """The loss of predicting the streams."""
        flat = self.layout.flatten(streams)
        nats, correct, tokens = [], [], []
        kinds = {}
        for kind, _, logits, targets in self._predictions(flat):
            losses = F.cross_entropy(logits, targets, reduction="none")
            nats.append(losses.sum())
            correct.append((logits.argmax(-1) == targets).sum())
            tokens.append(len(targets))
            kinds["semantic" if kind == SEMANTIC else f"level {kind}"] = losses.detach().mean()
        if not tokens:
            raise AudioLMError(f"{self._name}: the streams hold no token to predict")
        return StageLoss(
            loss=torch.stack(nats).sum() / sum(tokens),
            tokens=torch.tensor(sum(tokens), device=flat.ids.device),
            correct=torch.stack(correct).sum(),
            kinds=kinds,
        )

    @torch.no_grad()
    def log_likelihood(self, streams: Streams) -> LogLikelihood:
        """log p of the predicted tokens given all before them and the conditioning.

        Rows may be padded. There is no window: the whole sequence is seen at once.
        """
        flat = self.layout.flatten(streams)
        per_token = torch.zeros(flat.ids.numel(), device=flat.ids.device)
        with self._evaluating():
            for _, index, logits, targets in self._predictions(flat):
                per_token[index] = -F.cross_entropy(logits, targets, reduction="none")
        per_token = per_token.view_as(flat.ids)
        return LogLikelihood(per_token.sum(1), per_token, flat.predicted)

    @torch.no_grad()
    def generate(
        self,
        prefix: Streams,
        *,
        steps: int,
        sampling: Sampling,
        generator: torch.Generator,
        until_end: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Streams:
        """Go on after the prefix, however long (paper, section III-D).

        All rows of the prefix are of one length. Beyond `context_seconds` the older half of what
        the stage sees is dropped, again and again; the fine stage works in chunks of that length.

        Args:
            prefix: semantic stage: `semantic` (B, S), may be empty. coarse: `semantic` (B, S) over
                prompt and continuation, `codes` (B, Q', F) of the prompt or None. acoustic_only:
                `codes` (B, Q', F) or None. fine: `codes` (B, Q', F), or (B, Q, F) with -1 at the
                fine ids that are not known; those that are known are kept.
            steps: new semantic ids, or new codec frames; 0 for the fine stage.
            sampling: how ids are drawn.
            generator: the only source of randomness.
            until_end: let the semantic stage draw the end, and stop when all rows have.
            progress: called with how many positions (of all rows at once) have been filled since.

        Returns:
            semantic stage: only the new ids (B, steps), without repeats if the layout removes them
            (`stretch` puts them on the 25 Hz clock), -1 after a row's end, and which rows `ended`.
            The other stages: `codes` of the prompt and all new frames, (B, Q', F + steps), or
            (B, Q, F) from the fine stage.

        Raises:
            AudioLMError: streams that do not fit this stage, or output that is not finite.
        """
        kind, device = self.config.layout.kind, self.transformer.embedding.weight.device
        semantic, codes = self._checked(prefix, steps)
        drawing = Drawing(
            sampling,
            generator,
            self._name,
            until_end,
            progress,
            self.decoding_weights or quick_weights(device),
        )
        with self._evaluating(), torch.autocast(device.type, enabled=False):
            if kind == "semantic":
                return continue_semantic(
                    self.transformer, semantic, steps, self._context_ids, drawing
                )
            if kind == "fine":
                return fill_fine(self.transformer, codes, self._context_frames, drawing)
            return continue_codes(
                self.transformer, semantic, codes, steps, self._context_frames, drawing
            )

    @property
    def _name(self) -> str:
        return f"{self.config.layout.kind} stage"

    @property
    def _context_ids(self) -> int:
        """Semantic tokens in a window of `context_seconds`."""
        rate = SAMPLE_RATE / SEMANTIC_HOP
        if self.config.layout.remove_repeats:
            rate = min(rate, self.config.semantic_rate)
        return max(2, round(self.config.context_seconds * rate))

    @property
    def _context_frames(self) -> int:
        """Codec frames in a window of `context_seconds`, whole semantic steps."""
        steps = round(self.config.context_seconds * SAMPLE_RATE / SEMANTIC_HOP)
        return FRAMES_PER_STEP * max(1, steps)

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

    def _checked(self, prefix: Streams, steps: int) -> tuple[Tensor, Tensor]:
        """Semantic ids and codes of the prefix as this stage reads them, empty where absent."""
        layout, levels = self.config.layout, self.layout.levels
        device = self.transformer.embedding.weight.device
        given = prefix.semantic if prefix.codes is None else prefix.codes
        rows = 1 if given is None else len(given)
        semantic = torch.zeros(rows, 0, dtype=torch.long, device=device)
        codes = torch.zeros(rows, levels, 0, dtype=torch.long, device=device)
        if prefix.semantic is not None and layout.kind in ("semantic", "coarse"):
            semantic = prefix.semantic
        if prefix.codes is not None and layout.kind != "semantic":
            codes = prefix.codes[:, :levels]
        if bool((semantic < 0).any()) or bool((codes[:, : layout.coarse_levels] < 0).any()):
            raise AudioLMError(f"{self._name}: the prefix is padded; give rows of one length")
        if codes.shape[1] < min(levels, layout.coarse_levels):
            raise AudioLMError(f"{self._name}: give codes of {layout.coarse_levels} levels")
        if layout.kind == "fine":
            masks = F.pad(codes, (0, 0, 0, levels - codes.shape[1]), value=MASK)
            codes = torch.where(masks < 0, MASK, masks)
        needed = -(-(codes.shape[2] + steps) // FRAMES_PER_STEP)
        if layout.kind == "coarse" and semantic.shape[1] < needed:
            raise AudioLMError(
                f"{self._name}: {codes.shape[2] + steps} frames need {needed} semantic ids, "
                f"got {semantic.shape[1]}; give more or ask for less"
            )
        return semantic, codes

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """No dropout for a while."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)
