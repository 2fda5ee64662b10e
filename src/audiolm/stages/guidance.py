"""Classifier-free guidance: a stage that also knows what comes without its semantic ids.

In training a share of the rows hears no conditioning (`conditioning_dropout`), so that one network
learns both distributions. In decoding each row then runs twice, with its semantic ids and without,
and what the ids make likelier is made likelier still (Ho and Salimans, 2022; for codes of speech:
Koel-TTS, 2025). Dropping whole rows also keeps the stage from leaning on the ids alone.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from audiolm.errors import ConfigurationError
from audiolm.stages.contract import StageConfig
from audiolm.stages.sampling import Sampling
from audiolm.stages.streams import PAD, Streams


def drop_conditioning(streams: Streams, share: float | None) -> Streams:
    """The streams (B, ...) with the semantic ids of about `share` of the rows left out, by chance.

    Draws from PyTorch's global generator, as dropout does: for training only.
    """
    if streams.semantic is None or share is None:
        return streams
    dropped = torch.rand(len(streams.semantic), 1, device=streams.semantic.device) < share
    return replace(streams, semantic=streams.semantic.masked_fill(dropped, PAD))


def with_unconditional_rows(streams: Streams) -> Streams:
    """B rows to 2 B: as they are, then the same without their semantic ids."""
    assert streams.semantic is not None
    semantic = torch.cat([streams.semantic, torch.full_like(streams.semantic, PAD)])
    codes = None if streams.codes is None else streams.codes.repeat(2, 1, 1)
    return Streams(semantic, codes)


def guided(logits: Float[Tensor, "B2 n"], guidance: float) -> Float[Tensor, "B n"]:
    """Logits of `with_unconditional_rows` to those that are drawn from, of B rows.

    1 gives back what the conditional rows say, more goes further away from the unconditional ones.
    """
    conditional, unconditional = logits.chunk(2)
    return unconditional + guidance * (conditional - unconditional)


def check_guidance(sampling: Sampling, config: StageConfig, name: str) -> bool:
    """Whether a stage is to be guided.

    Raises:
        ConfigurationError: it is, and has never learnt what comes without conditioning.
    """
    if sampling.guidance == 1.0:
        return False
    if config.conditioning_dropout is None:
        raise ConfigurationError(
            f"{name}: guidance is {sampling.guidance:g}, but this stage has not learnt what comes "
            "without semantic ids; set guidance to 1, or train a stage that has them as "
            "conditioning with conditioning_dropout 0.1"
        )
    return True
