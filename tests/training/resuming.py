"""Kill a training at a step, resume it with fresh objects, and compare it with one left alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from audiolm.training.distributed import World
from audiolm.training.loop import Trained, train
from audiolm.training.optimizer import OptimizationConfig
from audiolm.training.tasks.task import Task

CPU = torch.device("cpu")


def optimization(steps: int, **changes: object) -> OptimizationConfig:
    """Few steps, a checkpoint after each of them."""
    settings = {"steps": steps, "batch_size": 3, "warm_up": 2, "checkpoint_seconds": 1e-9}
    return OptimizationConfig(**(settings | {"validations": 2} | changes))


class KilledError(Exception):
    """What ends a training in the middle."""


def watched(task: Task, dies_at: int | None = None) -> list[tuple[str, float]]:
    """The losses that `task` will compute, network by network; it dies before step `dies_at`."""
    losses: list[tuple[str, float]] = []
    loss_of, batch_of = task.loss, task.batch

    def loss(network, batch, progress):
        result = loss_of(network, batch, progress)
        losses.append((network, result.total.item()))
        return result

    def batch(step, rank, progress=0.0):
        if step == dies_at:
            raise KilledError
        return batch_of(step, rank, progress)

    task.loss, task.batch = loss, batch
    return losses


def run(task: Task, folder: Path, seed: int, device: torch.device = CPU) -> Trained:
    """Train to the end, with torch's generator started from `seed`."""
    torch.manual_seed(seed)
    return train(task, folder, device, World(), quiet=True)


def assert_resumed_equals_uninterrupted(
    build: Callable[[], Task], folder: Path, dies_at: int, device: torch.device = CPU
) -> list[tuple[str, float]]:
    """Every loss, the averaged weights and the last validation; returns the losses."""
    torch.manual_seed(1)
    whole = build()
    expected_losses = watched(whole)
    expected = run(whole, folder / "whole", seed=2, device=device)

    torch.manual_seed(1)
    killed = build()
    losses = watched(killed, dies_at)
    with pytest.raises(KilledError):
        run(killed, folder / "parts", seed=2, device=device)
    assert 0 < len(losses) < len(expected_losses)
    torch.manual_seed(77)  # a new process begins with other weights and other random numbers
    resumed = build()
    more = watched(resumed)
    outcome = run(resumed, folder / "parts", seed=78, device=device)

    assert losses + more == expected_losses
    assert outcome.metrics == expected.metrics
    mine, theirs = outcome.averaged.state_dict(), expected.averaged.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name
    return expected_losses
