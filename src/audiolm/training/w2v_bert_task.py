"""Training the network whose activations become semantic tokens (w2v-BERT; paper, III-A)."""

import math
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from audiolm.audio.augment import Augment, AugmentConfig
from audiolm.configuration import Configuration
from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig, W2vBertLoss
from audiolm.training.optimizer import OptimizationConfig
from audiolm.training.recordings import Recordings
from audiolm.training.task import Loss, Validation


class W2vBertTraining(Configuration):
    """How w2v-BERT is trained: the network hears a perturbed crop, its targets are the clean."""

    optimization: OptimizationConfig = OptimizationConfig(batch_size=16)
    """The optimizer, and how long."""
    crop_seconds: float = Field(default=10.0, gt=0)
    """Length of a training crop."""
    augment: AugmentConfig | None = AugmentConfig()
    """What is done to the crop that the network hears; null: nothing."""


class W2vBertTask:
    """Contrastive and masked-prediction losses, together."""

    name = "w2v_bert"

    def __init__(
        self,
        config: W2vBertConfig,
        training: W2vBertTraining,
        train: Recordings,
        held_out: Recordings,
        seed: int,
    ) -> None:
        self.optimization = training.optimization
        self.training = training
        self.train = train
        self.held_out = held_out
        self.seed = seed
        self.augment = Augment(training.augment) if training.augment else None
        self.networks = nn.ModuleDict({"w2v_bert": W2vBert(config)})

    def batch(self, step: int, rank: int) -> dict[str, Tensor]:
        """Clean crops (B, T), the perturbed ones (B, T), and how many samples are real (B,)."""
        size = self.optimization.batch_size
        clean, lengths = self.train.batch(step, rank, size, self.training.crop_seconds)
        noisy = clean
        if self.augment is not None:
            generator = torch.Generator(clean.device)
            key = np.random.SeedSequence((self.seed, step, rank))  # the same in every version
            generator.manual_seed(int(key.generate_state(1, np.uint64)[0]))
            noisy = self.augment(clean, generator)
        return {"clean": clean, "noisy": noisy, "lengths": lengths}

    def loss(self, network: str, batch: Any, progress: float) -> Loss:
        """Both losses; the progress anneals the quantizer's temperature."""
        result: W2vBertLoss = self.networks[network](
            batch["clean"], batch["noisy"], batch["lengths"], progress=progress
        )
        return Loss(result.loss, _scalars(result))

    def validate(self, averaged: nn.Module) -> Validation:
        """The losses on clean held-out crops, with masks drawn alike each time."""
        waveform, lengths = self.held_out.fixed_batch(self.training.crop_seconds, count=24)
        result: W2vBertLoss = averaged(waveform, None, lengths, progress=1.0)
        figures = {name: float(value) for name, value in _scalars(result).items()}
        alarms = []
        assert isinstance(averaged, W2vBert)
        entries = averaged.config.quantizer.entries
        if figures["perplexity"] < max(1.5, 0.02 * entries):
            alarms.append(
                f"the quantizer uses few of its {entries} entries (perplexity "
                f"{figures['perplexity']:.0f}): raise w2v_bert.diversity_weight"
            )
        return Validation({"loss": float(result.loss)} | figures, alarms=alarms)

    def export(self, averaged: nn.Module) -> None:
        """Nothing yet: the tokenizer is cut from this network once its layer is clustered."""
        return


def _scalars(result: W2vBertLoss) -> dict[str, Tensor | float]:
    """Every figure of the result but the total."""
    values = {f.name: getattr(result, f.name) for f in fields(result) if f.name != "loss"}
    return {
        name: value.detach() if isinstance(value, Tensor) else value
        for name, value in values.items()
        if not (isinstance(value, float) and math.isnan(value))
    }
