"""How weights are updated: AdamW, warm-up and cosine, averaged weights."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.distributed.tensor import DTensor

from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError
from audiolm.training.sharding import gather_into, shard


class OptimizationConfig(Configuration):
    """How one thing is trained. Its length is `steps` or `minutes`, whichever is reached first.

    With `steps` alone a training that was interrupted equals one that was not, loss by loss. Where
    `minutes` set the pace the learning rate follows the clock, and no two trainings are equal.
    """

    steps: int | None = Field(default=None, gt=0)
    """Updates in all; None: as many as fit in `minutes`."""
    minutes: float | None = Field(default=None, gt=0)
    """Wall-clock time in all, over every resumption; None: no limit."""
    batch_size: int = Field(default=16, gt=0)
    """Crops in one update: of all processes and all backward passes together."""
    accumulate: int = Field(default=1, gt=0)
    """Backward passes of each process in one update; more of them need less memory at a time."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate, reached after the warm-up."""
    final_fraction: float = Field(default=0.05, ge=0, le=1)
    """Share of the peak that is left at the end of the cosine."""
    warm_up: int = Field(default=200, ge=0)
    """Updates over which the learning rate rises from zero."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's decay rates of the first and second moment."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's weight decay, on matrices only."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the averaged weights, which are the ones validated and kept; 0 keeps the last."""
    precision: Literal["bf16", "float32"] = "bf16"
    """Arithmetic of the matrix products."""
    validations: int = Field(default=10, ge=1)
    """How often to validate over the whole training."""
    checkpoint_seconds: float = Field(default=60.0, gt=0)
    """Time between checkpoints."""

    def crops_per_pass(self, processes: int) -> int:
        """Crops that one of so many processes sees in one backward pass.

        Raises:
            ConfigurationError: when the batch cannot be divided evenly.
        """
        passes = processes * self.accumulate
        if self.batch_size % passes:
            near = max(1, round(self.batch_size / passes)) * passes
            raise ConfigurationError(
                f"batch_size: {self.batch_size} crops cannot be divided among {processes} "
                f"process{'es' if processes > 1 else ''} with {self.accumulate} backward "
                f"pass{'es' if self.accumulate > 1 else ''} each; set it to {near}, or change "
                "accumulate"
            )
        return self.batch_size // passes

    def progress(self, step: int, seconds: float) -> float:
        """How much of the training is done, 0 to 1, after `step` updates and `seconds`."""
        by_steps = step / self.steps if self.steps else 0.0
        by_clock = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    def learning_rate_at(self, step: int, progress: float) -> float:
        """Linear warm-up over the first updates, then a cosine down to `final_fraction`."""
        rise = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return (
            self.learning_rate * rise * (self.final_fraction + (1 - self.final_fraction) * cosine)
        )


def build_optimizer(network: nn.Module, config: OptimizationConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices, none on gains, biases and single vectors."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = bool(parameters) and parameters[0].device.type == "cuda"
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=fused)


class AveragedWeights:
    """An exponential moving average of a network's weights; its buffers are copied as they are.

    The decay starts low, so that the first average is not the random start.

    Args:
        network: as it begins; not sharded yet.
        decay: of the average; 0 keeps the last weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self._plain: nn.Module | None = None

    def shard(self, device: torch.device, precision: str) -> None:
        """Divide the averages among the processes, as the network is divided."""
        self._plain = copy.deepcopy(self.network)
        shard(self.network, device, precision)

    def whole(self) -> nn.Module:
        """The averaged network, in one piece; where it is sharded every process calls this."""
        return self.network if self._plain is None else gather_into(self._plain, self.network)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards `network` after update number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        averages, weights = (
            [p.to_local() if isinstance(p, DTensor) else p for p in one.parameters()]
            for one in (self.network, network)
        )
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)


@contextmanager
def only(network: nn.Module, among: nn.ModuleDict) -> Iterator[None]:
    """Within this, only `network` gathers gradients: the others are used, not trained."""
    others = [p for other in among.values() if other is not network for p in other.parameters()]
    frozen = [p for p in others if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
