"""The training loop: one for everything that is trained."""

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn

from audiolm.errors import TrainingError
from audiolm.training import distributed
from audiolm.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from audiolm.training.distributed import World
from audiolm.training.logbook import Logbook
from audiolm.training.optimizer import AveragedWeights, build_optimizer, only
from audiolm.training.task import Task, Validation, keep_batch

LOG_EVERY = 20
"""Steps between two lines of the log."""
WARNINGS_FROM = 1 / 3
"""Progress from which a validation's warnings are said: before, nothing is learnt yet."""


@dataclass(frozen=True)
class Outcome:
    """What a training came to."""

    averaged: nn.Module
    step: int
    seconds: float
    metrics: dict[str, float]
    """Of the last validation."""


def train(task: Task, folder: Path, device: torch.device, world: World, *, quiet: bool) -> Outcome:
    """Train `task` to the end of its budget, from its last checkpoint in `folder` if there is one.

    Raises:
        TrainingError: a loss that is not finite (its batch is kept beside the log); a full disk.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    config = task.optimization
    networks = task.networks.to(device).train()
    for network in networks.values():
        distributed.share_weights(network, world)
    first, kept = next(iter(networks.items()))
    optimizers = {name: build_optimizer(network, config) for name, network in networks.items()}
    averaged = AveragedWeights(kept, config.ema_decay)
    state = TrainingState(networks, optimizers, averaged, world=world)
    checkpoint = folder / "checkpoint.pt"

    with (
        Logbook(folder, task.name, quiet=quiet, writes=world.writes) as book,
        _stop_asked() as stop,
    ):
        if load_checkpoint(checkpoint, state):
            book.say(f"resumed at step {state.step}")
        before, begun, saved_at = state.seconds, time.monotonic(), time.monotonic()

        progress = config.progress(state.step, state.seconds)
        while progress < 1:
            # Gradients of every network on this step's batches, one backward pass after the other.
            for optimizer in optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            metrics: dict[str, Tensor | float] = {}
            for part in range(config.accumulate):
                number = state.step * config.accumulate + part
                batch = task.batch(number, world.rank, progress)
                for name, network in networks.items():
                    with only(network, networks), _autocast(device, config.precision):
                        loss = task.loss(name, batch, progress)
                    if loss.total.requires_grad:
                        (loss.total / config.accumulate).backward()
                    metrics |= loss.metrics
                    if name == first:
                        metrics["loss"] = loss.total.detach()

            # One update of each.
            rate = config.learning_rate_at(state.step, progress)
            for name, network in networks.items():
                distributed.average_gradients(network, world)
                norm = nn.utils.clip_grad_norm_(network.parameters(), config.clip)
                if not math.isfinite(float(norm)):
                    _stop_for_nan(folder, state.step, name, batch, world)
                metrics[f"gradient norm {name}"] = norm
                for group in optimizers[name].param_groups:
                    group["lr"] = rate
                optimizers[name].step()
            state.averaged.update(kept, state.step)
            state.step += 1

            # What follows depends on the clock; every rank goes by that of rank 0.
            state.seconds = before + distributed.agree(time.monotonic() - begun, world, device)
            after = config.progress(state.step, state.seconds)
            if state.step % LOG_EVERY == 0 or after >= 1:
                plain = _plain({**metrics, "learning rate": rate, "seconds": state.seconds})
                book.record("train", state.step, plain)
                book.show(after, state.step, {"loss": plain["loss"], **plain})
            if _crosses(progress, after, config.validations) and after < 1 and world.writes:
                _validate(task, state, book, device, after)
            due = after >= 1 or time.monotonic() - saved_at > config.checkpoint_seconds
            asked = bool(distributed.agree(float(stop.is_set()), world, device))
            if asked or distributed.agree(float(due), world, device):
                save_checkpoint(checkpoint, state)
                saved_at = time.monotonic()
            if asked:
                book.say(f"stopped at step {state.step}; checkpoint kept in {checkpoint}")
                raise KeyboardInterrupt
            progress = after

        validation = _validate(task, state, book, device, progress)
        if distributed.agree(float(stop.is_set()), world, device):
            raise KeyboardInterrupt
    distributed.wait(world)
    return Outcome(state.averaged.network, state.step, state.seconds, validation.metrics)


def _validate(
    task: Task, state: TrainingState, book: Logbook, device: torch.device, progress: float
) -> Validation:
    """Judge the averaged weights; training's random numbers go on as if nothing had happened."""
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices),
        torch.inference_mode(),
        _autocast(device, task.optimization.precision),
    ):
        torch.manual_seed(0)
        validation = task.validate(state.averaged.network)
    book.record("validation", state.step, validation.metrics)
    book.hear(state.step, validation.audio)
    summary = ", ".join(f"{name} {value:.4g}" for name, value in validation.metrics.items())
    book.say(f"step {state.step}: validation {summary}")
    if progress >= WARNINGS_FROM:
        for warning in validation.warnings:
            book.warn(warning)
    return validation


def _stop_for_nan(folder: Path, step: int, network: str, batch: object, world: World) -> None:
    of_rank = "" if world.writes else f"-rank-{world.rank}"
    path = folder / f"batch-of-step-{step}{of_rank}.pt"
    keep_batch(path, batch)
    raise TrainingError(
        f"{network}: the gradient of step {step} is not finite; its batch is kept in {path}: look "
        "at it, or lower optimization.learning_rate and give the same command again"
    )


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _plain(metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _crosses(before: float, after: float, times: int) -> bool:
    """Whether one of `times` equal marks lies between two points of progress."""
    return math.floor(before * times) < math.floor(after * times)


@contextmanager
def _stop_asked() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that the step under way is finished and saved.

    A second Ctrl-C interrupts at once.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, old[signal.SIGINT])

    for number in old:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
