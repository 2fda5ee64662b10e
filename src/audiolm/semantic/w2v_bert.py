"""w2v-BERT (Chung et al., 2021): how the semantic tokenizer's network learns (paper, III-B).

Spans of the subsampled input are hidden. After the first layers, the contrastive module, the
network must tell what was hidden from 100 distractors of the same recording; what it chooses among
are entries of a codebook that is learnt along. After the remaining layers, the masked-prediction
module, it must name the entry's id. The targets are always made from the clean recording, while
the network may be shown a perturbed one: so it learns not to hear the voice and the room.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError
from audiolm.semantic.cluster_quantizer import CEPSTRA, ClusterQuantizer, one_hot
from audiolm.semantic.conformer import Conformer, ConformerConfig, full_lengths
from audiolm.semantic.gumbel_quantizer import GumbelQuantizer, TargetQuantizerConfig, Targets
from audiolm.shapes import Features, FlatMask, Lengths, SemanticIds, Waveform


class MaskingConfig(Configuration):
    """Which steps are hidden, and what stands in their place."""

    start_probability: float = Field(default=0.065, gt=0, le=1)
    """Probability that a step begins a hidden span; spans may overlap."""
    span: int = Field(default=10, gt=0)
    """Steps in a span (40 ms each)."""
    replacement: Literal["noise", "learnt"] = "noise"
    """Random normal vectors as in w2v-BERT, or one learnt vector."""


class W2vBertConfig(Configuration):
    """The network and its losses."""

    conformer: ConformerConfig = ConformerConfig()
    """The encoder; its last layers beyond `contrastive_layers` are the masked-prediction module."""
    contrastive_layers: int = Field(default=4, gt=0)
    """Layers of the contrastive module."""
    quantizer: TargetQuantizerConfig = TargetQuantizerConfig()
    """The codebook of the targets."""
    masking: MaskingConfig = MaskingConfig()
    """What is hidden."""
    distractors: int = Field(default=100, gt=0)
    """Wrong choices beside each right one in the contrastive loss."""
    similarity_temperature: float = Field(default=0.1, gt=0)
    """Divides the cosine similarities of the contrastive loss."""
    contrastive_weight: float = Field(default=1.0, ge=0)
    """Weight of the contrastive loss; at 0 there is no codebook, and targets must be given."""
    diversity_weight: float = Field(default=0.1, ge=0)
    """Weight, within the contrastive loss, of the use of the whole codebook."""
    masked_prediction_weight: float = Field(default=1.0, ge=0)
    """Weight of the masked-prediction loss."""
    unmasked_weight: float = Field(default=0.0, ge=0)
    """Weight of naming the ids of steps that were not hidden, as in HuBERT: where the network hears
    a perturbed waveform, it learns from these to hear the clean one. 0 in w2v-BERT."""
    external_targets: int = Field(default=0, ge=0)
    """Clusters of an earlier round whose ids masked prediction is to name, as in HuBERT, instead of
    the codebook's; 0 for none."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.contrastive_layers >= self.conformer.layers:
            raise ValueError(
                f"contrastive_layers {self.contrastive_layers} must be fewer than conformer.layers "
                f"{self.conformer.layers}; lower it"
            )
        if self.quantizer.width % self.quantizer.groups:
            raise ValueError("quantizer.width must be a multiple of quantizer.groups; change one")
        if self.quantizer.kind == "clusters" and self.quantizer.groups > 1:
            raise ValueError("quantizer.groups must be 1 with quantizer.kind clusters; change one")
        if (cepstra := self.quantizer.cepstra) is not None:
            bins = self.conformer.mel.bins
            if not 0 <= cepstra[0] < cepstra[1] <= bins:
                raise ValueError(
                    f"quantizer.cepstra {cepstra[0]} to {cepstra[1]} are not among the {bins} of "
                    "conformer.mel.bins; give two ascending numbers from 0 to that"
                )
        if self.contrastive_weight == 0 and self.external_targets == 0:
            raise ValueError("contrastive_weight 0 leaves no targets; set external_targets")
        return self

    @property
    def layers(self) -> int:
        """Layers of both modules."""
        return self.conformer.layers


@dataclass(frozen=True)
class W2vBertLoss:
    """What one batch says; scalars, all but `loss` for the log."""

    loss: Tensor
    """The weighted sum to be minimised."""
    contrastive: Tensor
    """Nats per masked step, of choosing the right vector."""
    diversity: Tensor
    """0 when every codebook entry is used equally, towards 1 when one entry is used always."""
    masked_prediction: Tensor
    """Nats per masked step (and group), of naming the target id."""
    contrastive_accuracy: Tensor
    """Share of masked steps whose right vector beat every distractor."""
    masked_prediction_accuracy: Tensor
    """Share of masked steps whose id was named."""
    perplexity: Tensor
    """Of the distribution of target ids in the batch (mean over groups)."""
    used_ids: Tensor
    """Distinct target ids in the batch (mean over groups)."""
    masked_steps: Tensor
    """Steps the losses are means of."""


class W2vBert(nn.Module):
    """The Conformer with what it needs while it learns: codebook and heads."""

    def __init__(self, config: W2vBertConfig | None = None) -> None:
        super().__init__()
        config = config or W2vBertConfig()
        self.config = config
        width, quantizer = config.conformer.width, config.quantizer
        self.conformer = Conformer(config.conformer)
        if config.masking.replacement == "learnt":
            self.hidden = nn.Parameter(torch.empty(width).normal_())
        self.quantizer: GumbelQuantizer | ClusterQuantizer | None = None
        if config.contrastive_weight > 0:
            if quantizer.kind == "clusters":
                self.quantizer = ClusterQuantizer(
                    config.conformer.mel.bins,
                    quantizer.entries,
                    quantizer.width,
                    quantizer.cepstra or CEPSTRA,
                )
            else:
                self.quantizer = GumbelQuantizer(quantizer, width)
            self.context = nn.Linear(width, quantizer.width)
        groups, classes = quantizer.groups, quantizer.entries
        if config.external_targets:
            groups, classes = 1, config.external_targets
        self.head = nn.Sequential(
            nn.Linear(width, groups * classes), nn.Unflatten(-1, (groups, -1))
        )

    def forward(
        self,
        clean: Waveform,
        noisy: Waveform | None = None,
        lengths: Lengths | None = None,
        progress: float = 0.0,
        targets: SemanticIds | None = None,
        generator: torch.Generator | None = None,
    ) -> W2vBertLoss:
        """The losses of one batch.

        Args:
            clean: samples in [-1, 1], (B, T); the codebook's targets are made from these.
            noisy: what the network is shown instead, aligned in time; `clean` when None.
            lengths: samples of each row that are real; all when None.
            progress: share of the training that is done, 0 to 1; cools the codebook's choice.
            targets: ids (B, S) for masked prediction, -1 where there is none; given exactly when
                the configuration has `external_targets`.
            generator: draws masks, distractors and Gumbel noise; on the batch's device.

        Raises:
            ConfigurationError: `targets` without `external_targets`, or the other way round.
        """
        config = self.config
        if (targets is None) != (config.external_targets == 0):
            raise ConfigurationError(
                f"external_targets is {config.external_targets}: give targets exactly when it is "
                "not 0, or change it"
            )
        if lengths is None:
            lengths = full_lengths(clean)
        real = self.conformer.real_steps(clean, lengths)  # (B, S)
        masked = span_mask(real, config.masking, generator)  # (B, S)
        seen = self.conformer.subsampling(clean if noisy is None else noisy, lengths)  # (B, S, D)
        context, predicted = self.conformer.run(
            self.hide(seen, masked, generator), real, [config.contrastive_layers, config.layers]
        )

        contrastive = diversity = right = seen.new_zeros((), dtype=torch.float32)
        if self.quantizer is not None:
            quantized = self._quantize(
                clean, seen, noisy is None, lengths, real, progress, generator
            )
            contrastive, right = contrastive_loss(
                self.context(context), quantized, masked, config, generator
            )
            diversity = diversity_loss(quantized.probabilities, real)
            ids = quantized.ids  # (B, S, groups)
        if targets is not None:
            ids = targets[..., None]
        asked = masked & (ids >= 0).all(dim=-1)
        logits = self.head(predicted)  # (B, S, groups, V)
        prediction, named = prediction_loss(logits, ids, asked)
        total = (
            config.contrastive_weight * (contrastive + config.diversity_weight * diversity)
            + config.masked_prediction_weight * prediction
        )
        if config.unmasked_weight:
            heard = real & ~masked & (ids >= 0).all(dim=-1)
            total = total + config.unmasked_weight * prediction_loss(logits, ids, heard)[0]
        perplexity, used = usage(ids[real], logits.shape[-1])
        return W2vBertLoss(
            loss=total,
            contrastive=contrastive.detach(),
            diversity=diversity.detach(),
            masked_prediction=prediction.detach(),
            contrastive_accuracy=right,
            masked_prediction_accuracy=named,
            perplexity=perplexity,
            used_ids=used,
            masked_steps=asked.sum(),
        )

    def _quantize(
        self,
        clean: Waveform,
        seen: Features,
        seen_is_clean: bool,
        lengths: Lengths,
        real: FlatMask,
        progress: float,
        generator: torch.Generator | None,
    ) -> Targets:
        """The targets of the clean waveform."""
        if isinstance(self.quantizer, ClusterQuantizer):
            spectra = self.conformer.subsampling.spectra(clean, lengths)
            vectors, ids = self.quantizer(spectra, real, generator)
            chances = one_hot(ids, self.config.quantizer.entries)
            return Targets(vectors, ids[..., None], chances)
        assert self.quantizer is not None
        source = seen if seen_is_clean else self.conformer.subsampling(clean, lengths)
        quantized: Targets = self.quantizer(source, real, progress, generator)
        return quantized

    def hide(
        self, x: Features, masked: FlatMask, generator: torch.Generator | None = None
    ) -> Features:
        """Subsampled vectors (B, S, D) with the masked steps replaced."""
        if self.config.masking.replacement == "learnt":
            return torch.where(masked[..., None], self.hidden.to(x.dtype), x)
        return torch.where(masked[..., None], torch.empty_like(x).normal_(generator=generator), x)

    @torch.no_grad()
    def features(
        self, waveform: Waveform, lengths: Lengths | None = None, layer: int | None = None
    ) -> Features:
        """Activations (B, S, D) of one layer as in use: nothing hidden, no dropout, no gradient.

        Layers are counted from 1 over both modules, the contrastive first; see `Conformer.forward`.
        """
        training = self.training
        self.eval()
        try:
            features: Tensor = self.conformer(waveform, lengths, layer)
        finally:
            self.train(training)
        return features


def span_mask(
    real: FlatMask, config: MaskingConfig, generator: torch.Generator | None = None
) -> FlatMask:
    """Which steps (B, S) are hidden: spans from random starts, at least one in each row."""
    draw = torch.rand(real.shape, generator=generator, device=real.device).masked_fill(~real, 2.0)
    starts = (draw < config.start_probability) | (draw == draw.amin(dim=1, keepdim=True))
    begun = starts.long().cumsum(dim=1)  # (B, S): spans begun so far
    before = F.pad(begun, (config.span, 0))[:, : real.shape[1]]  # those that have ended by now
    return (begun > before) & real


def contrastive_loss(
    context: Tensor,
    quantized: Targets,
    masked: FlatMask,
    config: W2vBertConfig,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Nats of choosing the right vector among distractors, and how often it is the nearest.

    Distractors are the targets of other masked steps of the same row. Those that are the very same
    vector count against it, too: if they did not, the best codebook would have a single entry.

    Args:
        context: the network's guesses (B, S, W) at the quantized vectors.
    """
    with torch.autocast(context.device.type, enabled=False):
        guess = F.normalize(context.float(), dim=-1)
        truth = F.normalize(quantized.vectors.float(), dim=-1)
        logits = guess @ truth.transpose(1, 2) / config.similarity_temperature  # (B, S, S)
    others = sample_other_masked(masked, config.distractors, generator)  # (B, S, distractors)
    right = logits.diagonal(dim1=1, dim2=2)[..., None]  # (B, S, 1)
    if config.quantizer.kind == "clusters":  # they cannot merge, and equal ones are no mistake
        same = (quantized.ids[:, :, None] == quantized.ids[:, None]).all(dim=-1)  # (B, S, S)
        logits = logits.masked_fill(same, -torch.inf)
    wrong = logits.gather(2, others)  # (B, S, distractors)
    nats = torch.cat([right, wrong], dim=-1).logsumexp(dim=-1) - right[..., 0]  # (B, S)
    return nats[masked].mean(), (right > wrong).all(dim=-1)[masked].float().mean()


def sample_other_masked(
    masked: FlatMask, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """For each step, `count` random other masked steps of its row, with repetition: (B, S, count).

    A step that is alone in its row gets itself.
    """
    order = masked.long().argsort(dim=1, descending=True, stable=True)  # masked steps first
    rank = (masked.long().cumsum(dim=1) - 1)[..., None]  # (B, S, 1): where a step stands in `order`
    choices = (masked.sum(dim=1) - 1)[:, None, None]  # (B, 1, 1)
    uniform = torch.rand((*masked.shape, count), generator=generator, device=masked.device)
    draw = (uniform * choices).long()  # 0 to choices - 1
    draw = torch.where(choices > 0, draw + (draw >= rank), 0)
    return order.gather(1, draw.flatten(1)).view_as(draw)


def diversity_loss(probabilities: Tensor, real: FlatMask) -> Tensor:
    """1 - perplexity / V of the mean distribution (groups, V) over real steps, mean over groups."""
    mean = probabilities[real].mean(dim=0)  # (groups, V)
    perplexity: Tensor = torch.special.entr(mean).sum(dim=-1).exp()
    return (1 - perplexity / mean.shape[-1]).mean()


def prediction_loss(logits: Tensor, ids: Tensor, asked: FlatMask) -> tuple[Tensor, Tensor]:
    """Nats of naming ids (B, S, groups) from logits (B, S, groups, V), and the share named right.

    Both count the steps that are `asked`, and are 0 where none is.
    """
    chosen, right = logits[asked].float().flatten(0, 1), ids[asked].flatten()
    count = max(len(right), 1)
    hits = (chosen.argmax(dim=-1) == right).sum() / count
    return F.cross_entropy(chosen, right, reduction="sum") / count, hits


def usage(ids: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Perplexity and number of distinct ids of (n, groups), means over groups; -1 is left out."""
    groups = ids.shape[1]
    numbered = ids + classes * torch.arange(groups, device=ids.device)  # (n, groups)
    found = torch.bincount(numbered[ids >= 0], minlength=groups * classes)
    counts = found.view(groups, classes).float()
    shares = counts / counts.sum(dim=-1, keepdim=True).clamp(min=1)
    perplexity = torch.special.entr(shares).sum(dim=-1).exp()
    return perplexity.mean(), (counts > 0).sum(dim=-1).float().mean()
