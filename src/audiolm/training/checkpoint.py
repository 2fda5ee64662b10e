"""The whole state of a training, so that a resumed one equals one that was never interrupted.

A checkpoint holds the networks, their averages, the optimizers, the step, the time used, and every
random generator's state. Batches need none: each is a function of the step's number.
"""

import errno
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiolm.atomic import replacing
from audiolm.errors import TrainingError
from audiolm.training import distributed
from audiolm.training.distributed import World
from audiolm.training.optimizer import AveragedWeights


@dataclass
class TrainingState:
    """Everything that changes from step to step."""

    networks: nn.ModuleDict
    optimizers: dict[str, torch.optim.AdamW]
    averaged: AveragedWeights
    step: int = 0
    seconds: float = 0.0
    world: World = field(default_factory=World)

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and plain values; every rank has to ask for it at once."""
        device = next(self.networks.parameters()).device
        cuda = device.type == "cuda"
        generators = distributed.gather(torch.get_rng_state(), self.world, device)
        return {
            "networks": self.networks.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "averaged": self.averaged.network.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "generator": torch.stack(generators),  # (ranks, bytes)
            "cuda_generators": (
                distributed.gather(torch.cuda.get_rng_state(), self.world, device) if cuda else []
            ),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put everything back as it was."""
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


def save_checkpoint(path: Path, state: TrainingState) -> None:
    """Write a checkpoint whole or not at all: the one before stays until the new one is complete.

    Every rank calls this, and the first one writes.

    Raises:
        TrainingError: when the disk is full or the folder cannot be written.
    """
    content = state.state_dict()
    if not state.world.writes:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            torch.save(content, draft)
    except (OSError, RuntimeError) as error:
        # Torch's writer tells of bytes that did not arrive, not why: there was no room for them.
        full = isinstance(error, RuntimeError) or error.errno in (errno.ENOSPC, errno.EDQUOT)
        cause = "the disk is full" if full else str(error)
        raise TrainingError(
            f"{path}: checkpoint not written, {cause}; the one before it is kept: "
            "make room and give the same command again"
        ) from error


def load_checkpoint(path: Path, state: TrainingState) -> bool:
    """Restore `state` from `path` if there is a checkpoint; says whether there was one.

    Raises:
        TrainingError: when the checkpoint cannot be read or belongs to another network.
    """
    if state.world.writes:
        for left_over in path.parent.glob(f".{path.name}.*.part"):  # of a sitting that was killed
            left_over.unlink()
    if not path.exists():
        return False
    try:
        device = next(state.networks.parameters()).device
        saved = torch.load(path, map_location="cpu", weights_only=True)
        state.load_state_dict(saved)
        state.networks.to(device)
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise TrainingError(
            f"{path}: not a checkpoint of this training ({reason}); "
            "give --restart to begin again, or another --out"
        ) from error
    return True
