"""The whole state of a training, so that a resumed one equals one that was never interrupted.

A checkpoint holds the networks, their averages, the optimizers, the step, the time used, and every
random generator's state. Batches need none: each is a function of the step's number.
"""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiolm.audio.files import replacing
from audiolm.errors import TrainingError
from audiolm.training.optimizer import AveragedWeights


@dataclass
class TrainingState:
    """Everything that changes from step to step."""

    networks: nn.ModuleDict
    optimizers: dict[str, torch.optim.AdamW]
    averaged: AveragedWeights
    step: int = 0
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and plain values."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "networks": self.networks.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "averaged": self.averaged.network.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "generator": torch.get_rng_state(),
            "cuda_generators": cuda,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put everything back as it was."""
        self.networks.load_state_dict(state["networks"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.averaged.network.load_state_dict(state["averaged"])
        self.step = state["step"]
        self.seconds = state["seconds"]
        torch.set_rng_state(state["generator"])
        if state["cuda_generators"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_generators"])


def save_checkpoint(path: Path, state: TrainingState) -> None:
    """Write a checkpoint whole or not at all: the one before stays until the new one is complete.

    Raises:
        TrainingError: when the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(path) as draft:
            torch.save(state.state_dict(), draft)
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "PytorchStreamWriter" in str(error)
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
