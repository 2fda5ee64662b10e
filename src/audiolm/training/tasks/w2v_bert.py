"""Training the network whose activations become semantic tokens (w2v-BERT; paper, III-A)."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from audiolm.audio.augment import Augment, AugmentConfig
from audiolm.data.batches import CropSampler, Draw, token_batch
from audiolm.data.tokens import TokenStore
from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig, W2vBertLoss
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP, Lengths, SemanticIds, Waveform
from audiolm.training.optimizer import OptimizationConfig
from audiolm.training.recordings import Recordings
from audiolm.training.tasks.task import Loss, TaskTraining, Validation

VALIDATED = 24
"""Crops that judge the network."""


class W2vBertTraining(TaskTraining):
    """How w2v-BERT is trained: the network hears a perturbed crop, its targets are the clean."""

    optimization: OptimizationConfig = OptimizationConfig(batch_size=16)
    """The optimizer, and how long."""
    crop_seconds: float = Field(default=10.0, gt=0)
    """Length of a training crop."""
    augment: AugmentConfig | None = AugmentConfig()
    """What is done to the crop that the network hears; null: nothing."""


class W2vBertTask:
    """Contrastive and masked-prediction losses, together.

    Args:
        config: the network.
        training: how it is trained.
        train: recordings to learn from.
        validation: recordings to judge by.
        seed: of the crops and of their perturbation.
        targets: in a second round, the first round's semantic ids of `train` and of `validation`,
            which masked prediction is to name (HuBERT; Hsu et al., 2021).
    """

    def __init__(
        self,
        config: W2vBertConfig,
        training: W2vBertTraining,
        train: Recordings,
        validation: Recordings,
        seed: int,
        targets: tuple[TokenStore, TokenStore] | None = None,
    ) -> None:
        self.name = "w2v_bert" if targets is None else "second_round"
        self.optimization = training.optimization
        self.crops = training.optimization.crops_per_pass(train.world.size)
        self.training = training
        self.train = train
        self.validation = validation
        self.seed = seed
        self.augment = Augment(training.augment) if training.augment else None
        self.targets = targets[0] if targets else None
        self.validation_targets = targets[1] if targets else None
        self.steps = max(1, round(training.crop_seconds * SAMPLE_RATE / SEMANTIC_HOP))
        self._samplers: dict[int, CropSampler] = {}  # by rank; of a second round
        self.network = W2vBert(config)
        self.networks = nn.ModuleDict({"w2v_bert": self.network})

    def batch(self, step: int, rank: int, progress: float = 0.0) -> dict[str, Tensor]:
        """Clean crops (B, T), the perturbed ones (B, T), and how many samples are real (B,).

        In a second round also their targets (B, S), -1 behind the end of a recording.
        """
        size, targets = self.crops, {}
        if self.targets is None:
            clean, lengths = self.train.batch(step, rank, size, self.training.crop_seconds)
        else:
            if rank not in self._samplers:
                whole, world = self.targets.lengths(), self.train.world.size
                self._samplers[rank] = CropSampler(whole, self.steps, size, self.seed, rank, world)
            draws = self._samplers[rank].draw(step)
            clean, lengths, targets["targets"] = self._with_targets(self.train, self.targets, draws)
        noisy = clean
        if self.augment is not None:
            generator = torch.Generator(clean.device)
            key = np.random.SeedSequence((self.seed, step, rank))  # the same in every version
            generator.manual_seed(int(key.generate_state(1, np.uint64)[0]))
            noisy = self.augment(clean, generator)
        return {"clean": clean, "noisy": noisy, "lengths": lengths, **targets}

    def loss(self, network: str, batch: Any, progress: float) -> Loss:
        """Both losses; the progress anneals the quantizer's temperature."""
        result: W2vBertLoss = self.networks[network](
            batch["clean"],
            batch["noisy"],
            batch["lengths"],
            progress=progress,
            targets=batch.get("targets"),
        )
        return Loss(result.loss, _scalars(result))

    def validate(self, averaged: nn.Module) -> Validation:
        """The losses on clean crops for validation, with masks drawn alike each time."""
        targets = None
        if self.validation_targets is None:
            waveform, lengths = self.validation.fixed_batch(self.training.crop_seconds, VALIDATED)
        else:
            whole = self.validation_targets.lengths()
            chosen = self.validation.spread(VALIDATED)
            draws = [(i, max(0, int(whole[i]) - self.steps) // 2) for i in chosen]
            waveform, lengths, targets = self._with_targets(
                self.validation, self.validation_targets, draws
            )
        result: W2vBertLoss = averaged(waveform, None, lengths, progress=1.0, targets=targets)
        metrics = {name: float(value) for name, value in _scalars(result).items()}
        warnings = []
        assert isinstance(averaged, W2vBert)
        entries = averaged.config.quantizer.entries
        if targets is None and metrics["perplexity"] < max(1.5, 0.02 * entries):
            # Clusters follow the recordings: the weight of their even use moves none of them.
            clusters = averaged.config.quantizer.kind == "clusters"
            remedy = "lower w2v_bert.quantizer.entries, or train on more recordings"
            warnings.append(
                f"the quantizer uses few of its {entries} entries (perplexity "
                f"{metrics['perplexity']:.0f}): "
                + (remedy if clusters else "raise w2v_bert.diversity_weight")
            )
        return Validation({"loss": float(result.loss)} | metrics, warnings=warnings)

    def export(self, averaged: nn.Module) -> None:
        """Nothing yet: the tokenizer is cut from this network once its layer is clustered."""
        return

    def _with_targets(
        self, recordings: Recordings, store: TokenStore, draws: Sequence[Draw]
    ) -> tuple[Waveform, Lengths, SemanticIds]:
        """Waveforms (B, T), lengths (B,) and ids (B, S) of crops drawn in semantic steps."""
        samples = [(index, start * SEMANTIC_HOP) for index, start in draws]
        waveform, lengths = recordings.crops(samples, self.steps * SEMANTIC_HOP)
        targets = token_batch(store, draws, self.steps).semantic
        assert targets is not None
        return waveform, lengths, targets.to(waveform.device)


def _scalars(result: W2vBertLoss) -> dict[str, Tensor | float]:
    """Every metric of the result but the total."""
    values = {f.name: getattr(result, f.name) for f in fields(result) if f.name != "loss"}
    return {
        name: value.detach() if isinstance(value, Tensor) else value
        for name, value in values.items()
        if not (isinstance(value, float) and math.isnan(value))
    }
