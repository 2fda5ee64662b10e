"""Weights, gradients and optimizer divided among the processes (FSDP2), for what fits no GPU alone.

Each block of a Transformer or Conformer is sharded, then the network around them: a block's weights
are gathered just before it is needed and given back after. What has no such blocks (the codec) is
small, and trained as without sharding. The optimizer is made afterwards, on the shards.
"""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from audiolm.semantic.conformer import ConformerBlock
from audiolm.stages.transformer import Block

Sharding = Literal["none", "fsdp"]


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a network that are sharded, and computed again, each by itself."""
    return (module for module in network.modules() if isinstance(module, Block | ConformerBlock))


def can_be_sharded(networks: nn.ModuleDict) -> bool:
    """Whether all of these have blocks."""
    return all(any(blocks(network)) for network in networks.values())


def shard(network: nn.Module, device: torch.device, precision: str) -> None:
    """Divide a network's weights among all processes, in place.

    Blocks are gathered as bfloat16 where that is what they compute in on a GPU, and gradients are
    summed as float32. What stands around the blocks keeps float32, and so does what flows between
    them: autocast lowers products alone, as without sharding.
    """
    bf16 = precision == "bf16" and device.type == "cuda"
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if bf16 else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    for block in blocks(network):
        fully_shard(block, mp_policy=policy)
    fully_shard(network)


def recompute(network: nn.Module) -> None:
    """Keep no activations inside the blocks for the backward pass: compute them again there.

    A third more work for a fraction of the memory (activation checkpointing).
    """
    for block in blocks(network):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def whole(tensor: Tensor) -> Tensor:
    """A scalar of sharded tensors, such as their norm, as every process may read it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gather_into(plain: nn.Module, sharded: nn.Module) -> nn.Module:
    """Put the weights of a sharded network into one that is not; every process calls this."""
    options = StateDictOptions(full_state_dict=True)
    plain.load_state_dict(get_model_state_dict(sharded, options=options))
    return plain
