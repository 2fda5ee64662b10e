"""A task small enough to train in milliseconds: a line through points, with dropout."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from audiolm.training.optimizer import OptimizationConfig
from audiolm.training.tasks.task import Loss, Validation

SECOND_ROUND = (
    "second_round={conformer: {width: 32, layers: 2, heads: 2, feed_forward: 64, kernel: 5}}",
    "second_round.contrastive_layers=1",
    "second_round.contrastive_weight=0.0",
    "second_round.unmasked_weight=1.0",
    "training.second_round.crop_seconds=2.0",
    "training.second_round.optimization={steps: 30, batch_size: 4, warm_up: 5, ema_decay: 0.9}",
    "training.second_clustering={layer: 2, clusters: 16, iterations: 4}",
    "recipe=[codec, w2v_bert, clustering, second_round, second_clustering, tokens, semantic]",
)
"""What gives the preset tiny a second round, whose Conformer has dropout."""

K, N, LEVELS = 16, 32, 4
"""Semantic ids, codes per level and levels of made-up tokens (the fixture `token_store`)."""


def optimization(**changes: Any) -> OptimizationConfig:
    settings = {"steps": 12, "batch_size": 8, "warm_up": 3, "precision": "float32"}
    return OptimizationConfig(**(settings | changes))


@dataclass
class Line:
    """Fit y = sum(x); an optional adversary shows whether turns are kept apart."""

    optimization: OptimizationConfig = field(default_factory=optimization)
    name: str = "line"
    adversary: bool = False
    poison: int | None = None
    """A step whose batch holds a NaN."""
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(1)
        line = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
        self.networks = nn.ModuleDict({"line": line})
        if self.adversary:
            self.networks["adversary"] = nn.Linear(1, 1)

    def batch(self, step: int, rank: int, progress: float = 0.0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1000 * step + rank)
        points = torch.randn(self.optimization.batch_size, 4, generator=generator)
        if step == self.poison:
            points[0, 0] = torch.nan
        return points

    def loss(self, network: str, batch: torch.Tensor, progress: float) -> Loss:
        guess = self.networks["line"](batch)
        if network == "adversary":
            total = self.networks["adversary"](guess.detach()).square().mean()
            return Loss(total, {"adversary": total.detach()})
        total = (guess[:, 0] - batch.sum(1)).square().mean()
        if self.adversary:
            total = total + 0.01 * self.networks["adversary"](guess).mean()
        self.losses.append(total.item())
        return Loss(total)

    def validate(self, averaged: nn.Module) -> Validation:
        points = self.batch(10**6, 0)
        loss = (averaged(points)[:, 0] - points.sum(1)).square().mean()
        torch.rand(3)  # random numbers drawn here must not disturb the training
        return Validation({"loss": float(loss)})

    def export(self, averaged: nn.Module) -> None:
        return None
