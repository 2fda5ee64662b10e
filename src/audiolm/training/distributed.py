"""Several processes as one trainer: rank, gradients averaged, one process that writes.

Started by `torchrun` (which sets RANK, WORLD_SIZE, LOCAL_RANK), never by a launcher of our own.
Each rank draws its own share of a batch; gradients are averaged after the backward passes and
before clipping, so N ranks with b / N crops each equal one rank with a batch of b. Gradients are
averaged here, in one flat buffer, rather than by `DistributedDataParallel`, because quantizer
dropout leaves another set of parameters without gradient at every step and on every rank.
"""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from audiolm.errors import TrainingError


@dataclass(frozen=True)
class World:
    """Which process this is, and of how many."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process logs, validates and saves."""
        return self.rank == 0


def join(device: torch.device) -> World:
    """Join the group that `torchrun` started, or be a world of one.

    Raises:
        TrainingError: when torchrun's variables are set but hold no numbers, or the group cannot
            be formed.
    """
    _, size = rank_and_size()
    if size == 1:
        return World()
    if device.type == "cuda":  # what is called "cuda" is another GPU in each process of a machine
        torch.cuda.set_device(_number("LOCAL_RANK", default=0, least=0))
    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        try:
            dist.init_process_group(backend)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"WORLD_SIZE={size}: the processes cannot find each other "
                f"({' '.join(str(error).split())}); start them with torchrun"
            ) from error
    return World(rank=dist.get_rank(), size=dist.get_world_size())


def rank_and_size() -> tuple[int, int]:
    """Which of torchrun's processes this is, from 0, and of how many; 0 of 1 without torchrun.

    Raises:
        TrainingError: when torchrun's variables hold no numbers.
    """
    size = _number("WORLD_SIZE", default=1, least=1)
    return (_number("RANK", default=0, least=0) if size > 1 else 0), size


def own_gpu(device: torch.device) -> torch.device:
    """The GPU of this process, where torchrun started several on a machine; else `device`.

    Raises:
        TrainingError: when torchrun's variables hold no numbers.
    """
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", _number("LOCAL_RANK", default=0, least=0))


def _number(variable: str, default: int, least: int) -> int:
    """The value of one of torchrun's variables; `default` where it is not set."""
    text = os.environ.get(variable, str(default))
    if not text.strip().isdecimal() or int(text) < least:
        raise TrainingError(
            f"{variable}={text}: is not a number from {least} on; unset it, or start several "
            "processes with torchrun"
        )
    return int(text)


def average_gradients(network: nn.Module, world: World) -> None:
    """Replace every gradient by its mean over all ranks; a missing gradient counts as zero."""
    if world.size == 1:
        return
    parameters = [p for p in network.parameters() if p.requires_grad]
    flat = torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters]
    )
    dist.all_reduce(flat)
    flat /= world.size
    for parameter, part in zip(
        parameters, flat.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.grad = part.view_as(parameter)


def share_weights(network: nn.Module, world: World) -> None:
    """Give every rank the weights and buffers of rank 0."""
    if world.size > 1:
        for tensor in network.state_dict().values():
            dist.broadcast(tensor, src=0)


def agree(value: float, world: World, device: torch.device) -> float:
    """The value that rank 0 holds, on every rank: for decisions that depend on a clock."""
    if world.size == 1:
        return value
    shared: Tensor = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(shared, src=0)
    return float(shared)


def gather(tensor: Tensor, world: World, device: torch.device) -> list[Tensor]:
    """A small tensor of every rank, on the CPU, in the order of the ranks."""
    if world.size == 1:
        return [tensor]
    mine = tensor.to(device)
    all_of_them = [torch.empty_like(mine) for _ in range(world.size)]
    dist.all_gather(all_of_them, mine)
    return [one.cpu() for one in all_of_them]


def total(tensor: Tensor, world: World) -> Tensor:
    """The sum of a tensor over all ranks, on every rank and on the device of the tensor."""
    if world.size == 1:
        return tensor
    # What talks between GPUs (NCCL) knows no tensors in the computer's memory.
    summed = tensor.cuda() if dist.get_backend() == "nccl" else tensor.clone()
    dist.all_reduce(summed)
    return summed.to(tensor.device)


def leave(world: World) -> None:
    """Take leave of the group, when all is done: together, as a process that goes while others
    still talk may be aborted by the threads it talks with."""
    if world.size > 1:
        dist.barrier()
        dist.destroy_process_group()


def wait(world: World) -> None:
    """Let no rank go on before all have come here."""
    if world.size > 1:
        dist.barrier()
