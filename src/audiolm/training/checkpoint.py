"""The whole state of a training, so that a resumed one equals one that was never interrupted.

A checkpoint holds the networks, their averages, the optimizers, the step, the time used, and every
random generator's state. Batches need none: each is a function of the step's number. (Where minutes
set the length, the learning rate follows the clock: such a training goes on as it would have, but
no two of them are equal to the last digit.)

Where weights are sharded, every process writes what it holds of them into a folder beside it
(torch.distributed.checkpoint), which any number of processes can read; the checkpoint names it.

The checkpoint before the last is kept beside it. Where the last one cannot be read, since a disk
failed, training goes on from the one before.
"""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as load_shards
from torch.distributed.checkpoint.state_dict_saver import save as save_shards

from audiolm.atomic import replacing
from audiolm.errors import TrainingError
from audiolm.training import distributed
from audiolm.training.distributed import World
from audiolm.training.optimizer import AveragedWeights

CHECKPOINT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
SHARDED = "checkpoint.sharded"
"""A folder of folders: what the processes wrote of sharded weights, by step."""


@dataclass
class LoopState:
    """Everything that changes from step to step."""

    networks: nn.ModuleDict
    optimizers: dict[str, torch.optim.AdamW]
    averaged: AveragedWeights
    step: int = 0
    seconds: float = 0.0
    world: World = field(default_factory=World)
    sharded: bool = False
    """Whether weights are kept in a folder that any number of processes can read."""

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and plain values; every rank has to ask for it at once."""
        device = next(self.networks.parameters()).device
        cuda = device.type == "cuda"
        generators = distributed.gather(torch.get_rng_state(), self.world, device)
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "generator": torch.stack(generators),  # (ranks, bytes)
            "cuda_generators": (
                distributed.gather(torch.cuda.get_rng_state(), self.world, device) if cuda else []
            ),
        }
        if self.sharded:
            return state | {"sharded": f"step-{self.step}"}
        return state | {
            "networks": self.networks.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "averaged": self.averaged.network.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], folder: Path) -> None:
        """Put everything back as it was.

        Args:
            state: what `state_dict` gave.
            folder: where the checkpoint lies.

        Raises:
            ValueError: when it was written with other sharding.
        """
        if ("sharded" in state) != self.sharded:
            was, now = ("none", "fsdp") if self.sharded else ("fsdp", "none")
            raise ValueError(f"training.sharding was {was} and is {now}; set it back")
        if self.sharded:
            self.load_weights(folder / SHARDED / state["sharded"])
        else:
            self.networks.load_state_dict(state["networks"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
            self.averaged.network.load_state_dict(state["averaged"])
        self.step = state["step"]
        self.seconds = state["seconds"]
        # More ranks than there were: the new ones go on with the generators they were started with.
        rank, size = self.world.rank, len(torch.get_rng_state())
        generators = state["generator"].reshape(-1, size)
        if rank < len(generators):
            torch.set_rng_state(generators[rank].clone())  # a view of a row is misread
        cuda = next(self.networks.parameters()).device.type == "cuda"
        if cuda and rank < len(state["cuda_generators"]):
            torch.cuda.set_rng_state(state["cuda_generators"][rank])

    def weights(self) -> dict[str, Any]:
        """Networks, averages and optimizers, by names that do not depend on who holds what."""
        return {
            "averaged": get_model_state_dict(self.averaged.network),
            **{f"network {n}": get_model_state_dict(net) for n, net in self.networks.items()},
            **{
                f"optimizer {name}": get_optimizer_state_dict(self.networks[name], optimizer)
                for name, optimizer in self.optimizers.items()
            },
        }

    def load_weights(self, folder: Path) -> None:
        """Read what each process needs of a sharded checkpoint, whoever wrote it."""
        weights = self.weights()
        try:
            load_shards(weights, checkpoint_id=folder)
        except CheckpointException as error:  # which is no Exception
            raise ValueError(f"{folder.name}: {_first_failure(error)}") from error
        set_model_state_dict(self.averaged.network, weights["averaged"])
        for name, network in self.networks.items():
            set_model_state_dict(network, weights[f"network {name}"])
            set_optimizer_state_dict(network, self.optimizers[name], weights[f"optimizer {name}"])


def save_checkpoint(folder: Path, state: LoopState) -> None:
    """Write a checkpoint whole or not at all; the one before it stays beside it.

    Every rank calls this, and the first one writes.

    Raises:
        TrainingError: when the disk is full or the folder cannot be written.
    """
    content = state.state_dict()
    path = folder / CHECKPOINT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if state.sharded:  # whole before the checkpoint names it
            _save_shards(folder / SHARDED / content["sharded"], state)
        if not state.world.writes:
            return
        with replacing(path) as draft:
            torch.save(content, draft)
            _keep_previous(path)
        if state.sharded:
            _remove_old_shards(folder)
    except (OSError, RuntimeError) as error:
        # Torch's writer tells of bytes that did not arrive, not why: there was no room for them.
        full = isinstance(error, RuntimeError) or error.errno in (errno.ENOSPC, errno.EDQUOT)
        cause = "the disk is full" if full else str(error)
        raise TrainingError(
            f"{path}: checkpoint not written, {cause}; the one before it is kept: "
            "make room and give the same command again"
        ) from error


def load_checkpoint(folder: Path, state: LoopState, warn: Callable[[str], None]) -> bool:
    """Restore `state` from the last checkpoint in a folder; says whether there was one.

    Args:
        folder: of a step.
        state: of the same networks.
        warn: is told where the last checkpoint cannot be read and the one before is taken.

    Raises:
        TrainingError: when no checkpoint can be read, or it belongs to another network.
    """
    if state.world.writes:
        for left_over in folder.glob(f".{CHECKPOINT}.*.part"):  # of a process that was killed
            left_over.unlink(missing_ok=True)
    path, saved = read_checkpoint(folder, warn)
    if saved is None:
        return False
    try:
        device = next(state.networks.parameters()).device
        state.load_state_dict(saved, folder)
        state.networks.to(device)
    except Exception as error:
        raise _unusable(path, error) from error
    return True


def read_checkpoint(
    folder: Path, warn: Callable[[str], None]
) -> tuple[Path, dict[str, Any] | None]:
    """The content of the last checkpoint of a folder that can be read, and its path.

    None where there is none. Tensors stay on the disk until they are used.

    Raises:
        TrainingError: when there are checkpoints and none of them can be read.
    """
    last, previous = folder / CHECKPOINT, folder / PREVIOUS
    there = [path for path in (last, previous) if path.exists()]
    if not there:
        return last, None
    errors: list[Exception] = []
    for path in there:
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(saved, dict):
                raise ValueError("it holds something else")
        except Exception as error:
            errors.append(error)
            continue
        if path != last:
            warn(f"{last}: cannot be read; going on from the checkpoint before it, {path.name}")
        return path, saved
    raise _unusable(there[0], errors[0]) from errors[0]


def _save_shards(folder: Path, state: LoopState) -> None:
    """Write what each process holds of the weights; all of them or an error in every process."""
    try:
        save_shards(state.weights(), checkpoint_id=folder)
    except CheckpointException as error:  # which is no Exception
        raise RuntimeError(_first_failure(error)) from error


def _first_failure(error: CheckpointException) -> str:
    """What went wrong in one of the processes."""
    return str(next(iter(error.failures.values()))[0]) if error.failures else str(error)


def _remove_old_shards(folder: Path) -> None:
    """Remove the shards that neither the last checkpoint nor the one before it names."""
    named = set()
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        with suppress(Exception):
            saved = torch.load(path, map_location="cpu", weights_only=True)
            named.add(saved["sharded"])
    for step in (folder / SHARDED).iterdir():
        if step.name not in named:
            shutil.rmtree(step, ignore_errors=True)


def averaged_weights(
    folder: Path, build: Callable[[], nn.Module], warn: Callable[[str], None]
) -> dict[str, Tensor] | None:
    """The averaged weights of the last checkpoint, in one piece; None where there is none.

    Args:
        folder: of a step.
        build: makes the network that was trained, with any weights.
        warn: as `read_checkpoint`.

    Raises:
        TrainingError: when no checkpoint can be read.
    """
    path, saved = read_checkpoint(folder, warn)
    if saved is None:
        return None
    if "sharded" not in saved:
        averaged: dict[str, Tensor] = saved["averaged"]
        return averaged
    weights: dict[str, Tensor] = build().state_dict()
    try:
        shards = folder / SHARDED / saved["sharded"]
        load_shards({"averaged": weights}, checkpoint_id=shards, no_dist=True)
    except (CheckpointException, Exception) as error:
        raise _unusable(path, error) from error
    return weights


def _keep_previous(path: Path) -> None:
    """Give the checkpoint that is about to be replaced the name of the previous one."""
    if not path.exists():
        return
    with suppress(OSError), replacing(path.with_name(PREVIOUS)) as draft:
        os.link(path, draft)  # no copy; where a disk knows no second name, there is no previous one


def _unusable(path: Path, error: BaseException) -> TrainingError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return TrainingError(
        f"{path}: not a checkpoint of this training ({reason}); "
        f"give --only {path.parent.name} --restart to begin again, or another --out"
    )
