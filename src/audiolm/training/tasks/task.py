"""What the training loop asks of a thing that is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from audiolm.configuration import Configuration
from audiolm.part import Part
from audiolm.training.optimizer import OptimizationConfig


class TaskTraining(Configuration):
    """How one thing is trained: what all of them have in common."""

    optimization: OptimizationConfig = OptimizationConfig()
    """The optimizer, and how long."""


@dataclass(frozen=True)
class Loss:
    """What one network is to minimise on one batch, and what is worth writing down."""

    total: Tensor
    """Scalar with gradient."""
    metrics: Mapping[str, Tensor | float] = field(default_factory=dict)
    """Scalars for the log."""


@dataclass(frozen=True)
class Validation:
    """What the averaged network does on recordings it is not trained on."""

    metrics: dict[str, float]
    """Scalars; the key `loss` is always there."""
    audio: dict[str, Tensor] = field(default_factory=dict)
    """Waveforms (T,) to hear and see in TensorBoard."""
    warnings: list[str] = field(default_factory=list)
    """Signs that training is going wrong, each a sentence with a remedy."""


@runtime_checkable
class Task(Protocol):
    """One thing that is trained; the loop knows nothing else about it."""

    name: str
    optimization: OptimizationConfig
    networks: nn.ModuleDict
    """What is trained, each with an optimizer of its own, in this order within a step. The first is
    the one whose averaged weights are validated and kept."""

    def batch(self, step: int, rank: int, progress: float = 0.0) -> Any:
        """The batch of one backward pass: a function of its arguments and the task's seed alone.

        `progress` runs from 0 to 1.
        """

    def loss(self, network: str, batch: Any, progress: float) -> Loss:
        """The loss of one of `networks` on a batch, at the same progress."""

    def validate(self, averaged: nn.Module) -> Validation:
        """Judge the averaged weights on recordings for validation."""

    def export(self, averaged: nn.Module) -> Part | None:
        """The part that goes into the model folder; None when later tasks need the network only."""


def keep_batch(path: Path, batch: Any) -> None:
    """Write a batch to disk, for whoever looks into what went wrong: tensors, or a dict of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(vars(batch) if is_dataclass(batch) else batch, path)
