"""How the networks that only measure are trained: one short, plain loop.

What is trained for its own sake goes through `audiolm.training`; these are yardsticks, trained in
minutes, and thrown away with the report.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audiolm.configuration import Configuration


class FittingConfig(Configuration):
    """How long, and how fast. It ends after `steps` or `minutes`, whichever comes first."""

    steps: int
    """Updates in all."""
    minutes: float | None = None
    """Wall-clock time in all; no limit when None."""
    learning_rate: float = 1e-3
    """Peak of AdamW's learning rate: it rises over the first tenth and falls to zero."""
    weight_decay: float = 0.05
    """AdamW's weight decay, on matrices only."""


@dataclass(frozen=True)
class Fitted:
    """What a training came to."""

    steps: int
    seconds: float
    loss: float
    """Of the last step."""


def fit(
    network: nn.Module,
    loss_of: Callable[[int], Tensor],
    config: FittingConfig,
    progress: Callable[[float], None] = lambda share: None,
) -> Fitted:
    """Train a network in place; it is in evaluation mode afterwards.

    Args:
        network: lies on its device.
        loss_of: the loss of a step, counted from 0, on a batch that depends on the step alone.
        config: how long.
        progress: is told which share is done.
    """
    network.train()
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
    device = next(network.parameters()).device
    begun, share, step = time.monotonic(), 0.0, 0
    while share < 1:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min((share + 1e-3) / 0.1, (1 - share) / 0.9, 1.0)
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        minutes = (time.monotonic() - begun) / 60
        share = min(
            1.0, max(step / config.steps, minutes / config.minutes if config.minutes else 0)
        )
        progress(share)
    network.eval()
    return Fitted(step, time.monotonic() - begun, float(loss.detach()))
