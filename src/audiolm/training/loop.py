"""The training loop: one for everything that is trained."""

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from audiolm.errors import TrainingError
from audiolm.training import distributed
from audiolm.training.checkpoint import CHECKPOINT, LoopState, load_checkpoint, save_checkpoint
from audiolm.training.distributed import World
from audiolm.training.optimizer import AveragedWeights, build_optimizer, only
from audiolm.training.prefetch import AHEAD, Prefetcher
from audiolm.training.reporting import TrainingLog
from audiolm.training.sharding import Sharding, can_be_sharded, recompute, shard, whole
from audiolm.training.tasks.task import Task, Validation, keep_batch

LOG_EVERY = 20
"""Steps between two lines of the log."""
WARNINGS_FROM = 1 / 3
"""Progress from which a validation's warnings are said: before, nothing is learnt yet."""


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    averaged: nn.Module
    step: int
    seconds: float
    metrics: dict[str, float]
    """Of the last validation."""


@dataclass(frozen=True)
class BackwardPass:
    """One backward pass of a step: should its gradient not be finite, this tells why."""

    batch: Any
    norms: dict[str, Tensor]
    """Of each network's gradient, once this pass was added to it."""


def train(
    task: Task,
    folder: Path,
    device: torch.device,
    world: World,
    *,
    sharding: Sharding = "none",
    recompute_activations: bool = False,
    quiet: bool,
) -> Trained:
    """Train `task` to the end of its budget, from its last checkpoint in `folder` if there is one.

    Args:
        task: what is trained.
        folder: where log and checkpoints are kept.
        device: where it computes.
        world: the processes that train together.
        sharding: whether weights are divided among them, where the task's networks can be.
        recompute_activations: inside the blocks, to save memory.
        quiet: no progress, no notes; warnings are said in any case.

    Raises:
        TrainingError: a gradient that is not finite (its batch is kept beside the log), a full
            disk, a checkpoint that cannot be read.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    config = task.optimization
    networks = task.networks.to(device).train()
    for network in networks.values():
        distributed.share_weights(network, world)
    first, kept = next(iter(networks.items()))
    averaged = AveragedWeights(kept, config.ema_decay)
    for network in networks.values():
        if recompute_activations:
            recompute(network)
    sharded = sharding == "fsdp" and can_be_sharded(networks)
    if sharded and world.size > 1:
        averaged.shard(device, config.precision)
        for network in networks.values():
            shard(network, device, config.precision)
    optimizers = {name: build_optimizer(network, config) for name, network in networks.items()}
    state = LoopState(networks, optimizers, averaged, world=world, sharded=sharded)
    with (
        TrainingLog(folder, task.name, quiet=quiet, writes=world.writes) as log,
        _stop_asked() as stop,
        ExitStack() as stack,
    ):
        if load_checkpoint(folder, state, log.warn):
            log.say(f"resumed at step {state.step}")
        before, begun, saved_at = state.seconds, time.monotonic(), time.monotonic()

        batches = stack.enter_context(_batches(task, state, device))
        progress = config.progress(state.step, state.seconds)
        while progress < 1:
            # Gradients of every network on this step's batches, one backward pass after the other.
            for optimizer in optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            metrics: dict[str, Tensor | float] = {}
            passes: list[BackwardPass] = []
            for _ in range(config.accumulate):
                batch = batches.take()
                for name, network in networks.items():
                    with only(network, networks), _autocast(device, config.precision):
                        loss = task.loss(name, batch, progress)
                    if loss.total.requires_grad:
                        (loss.total / config.accumulate).backward()
                    metrics |= loss.metrics
                    if name == first:
                        metrics["loss"] = loss.total.detach()
                passes.append(BackwardPass(batch, _gradient_norms(networks)))

            # One update of each.
            rate = config.learning_rate_at(state.step, progress)
            for name, network in networks.items():
                if not sharded:  # else the backward pass has averaged them
                    distributed.average_gradients(network, world)
                norm = whole(nn.utils.clip_grad_norm_(network.parameters(), config.clip))
                if not math.isfinite(float(norm)):
                    _stop_for_nan(folder, state.step, name, passes, world)
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
                log.record("train", state.step, plain)
                log.show(after, state.step, {"loss": plain["loss"], **plain})
            if _crosses(progress, after, config.validations) and after < 1:
                judged = state.averaged.whole()
                if world.writes:
                    _validate(task, judged, state.step, log, device, after)
            due = after >= 1 or time.monotonic() - saved_at > config.checkpoint_seconds
            asked = bool(distributed.agree(float(stop.is_set()), world, device))
            if asked or distributed.agree(float(due), world, device):
                save_checkpoint(folder, state)
                saved_at = time.monotonic()
            if asked:
                log.say(f"stopped at step {state.step}; checkpoint kept in {folder / CHECKPOINT}")
                raise KeyboardInterrupt
            progress = after

        judged = state.averaged.whole()
        validation = _validate(task, judged, state.step, log, device, progress)
        if distributed.agree(float(stop.is_set()), world, device):
            raise KeyboardInterrupt
    distributed.wait(world)
    return Trained(judged, state.step, state.seconds, validation.metrics)


def _validate(
    task: Task,
    averaged: nn.Module,
    step: int,
    log: TrainingLog,
    device: torch.device,
    progress: float,
) -> Validation:
    """Judge the averaged weights of a step; training's random numbers go on undisturbed."""
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices),
        torch.inference_mode(),
        _autocast(device, task.optimization.precision),
    ):
        torch.manual_seed(0)
        validation = task.validate(averaged)
    log.record("validation", step, validation.metrics)
    log.keep_audio(step, validation.audio)
    summary = ", ".join(f"{name} {value:.4g}" for name, value in validation.metrics.items())
    log.say(f"step {step}: validation {summary}")
    if progress >= WARNINGS_FROM:
        for warning in validation.warnings:
            log.warn(warning)
    return validation


def _batches(task: Task, state: LoopState, device: torch.device) -> Prefetcher[Any]:
    """This process's batches from the step that the state has reached on."""
    config = task.optimization
    first = state.step * config.accumulate
    left = None if config.steps is None else max(0, config.steps * config.accumulate - first)

    def make(number: int, progress: float) -> Any:
        return task.batch(number, state.world.rank, progress)

    def expected_progress(number: int) -> float:
        """When the batch is used: known where steps set the length; a clock is read by now."""
        return config.progress(number // config.accumulate, state.seconds)

    ahead = 0 if device.type == "cpu" else AHEAD
    return Prefetcher(make, expected_progress, first, left, ahead)


def _gradient_norms(networks: nn.ModuleDict) -> dict[str, Tensor]:
    """Of each network, the norm of the gradients gathered so far; nobody waits for it."""
    return {
        name: whole(nn.utils.get_total_norm([p.grad for p in n.parameters() if p.grad is not None]))
        for name, n in networks.items()
    }


def _stop_for_nan(
    folder: Path, step: int, network: str, passes: Sequence[BackwardPass], world: World
) -> None:
    """Keep the batch after which the gradient was no longer finite, and say where.

    Of several processes only those have such a batch whose own gradient is not finite.

    Raises:
        TrainingError: always.
    """
    culprit = next((p for p in passes if not p.norms[network].isfinite()), None)
    of_rank = "" if world.writes else f"-rank-{world.rank}"
    path = folder / f"batch-of-step-{step}{of_rank}.pt"
    if culprit is not None:
        keep_batch(path, culprit.batch)
    kept = f"its batch is kept in {path}" if culprit else "another process keeps its batch"
    raise TrainingError(
        f"{network}: the gradient of step {step} is not finite; {kept}: look at it, or lower "
        "optimization.learning_rate and give the same command again"
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
