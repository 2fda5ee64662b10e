"""Sampling: logits to ids, by temperature, top-k and top-p (paper, section IV-B: temperature).

Where the randomness comes from: each stage of a run has a generator of its own
(`stage_generator`), so that stages may take turns and still draw the same.
"""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from audiolm.configuration import Configuration
from audiolm.errors import AudioLMError

GREEDY_BELOW = 1e-6
"""Temperatures below this are 0 in float32 arithmetic."""


class Sampling(Configuration):
    """How the next id is chosen; the filters apply in the order temperature, top-k, top-p."""

    temperature: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """Below 1 likelier ids become likelier still; 0 always takes the likeliest."""
    top_k: int | None = Field(default=None, ge=1)
    """Draw from the k likeliest ids only (and those as likely as the last of them)."""
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    """Draw from the fewest likeliest ids that have this probability together."""
    guidance: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """How strongly the semantic ids count where they are conditioning: 1 as learnt, more makes the
    content surer and the sound less varied; twice the work (`audiolm.stages.guidance`)."""


def stage_generator(seed: int, stage: str, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator from which one stage of a run draws: that of the seed and the stage's name.

    Its own seed is the first 64 bits of a SHA-256 over both. No stage's draws depend on how many
    another one makes, and nothing touches PyTorch's global generator.
    """
    digest = hashlib.sha256(f"{seed} {stage}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def draw(
    logits: Float[Tensor, "B n"],
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    name: str,
    forbidden: Bool[Tensor, "B n"] | None = None,
) -> Int[Tensor, "B"]:
    """One id (B,) per row, never one whose logit is -inf.

    The noise is made where a generator lives and moved, so any generator serves any device.

    Args:
        logits: of the ids that may come next; nothing else can be drawn.
        sampling: temperature and filters.
        generators: the only source of randomness; each serves as many rows as any other, in order.
        name: what produced the logits, for the error message.
        forbidden: what may not be drawn.

    Raises:
        AudioLMError: a row holds a NaN or +inf, or nothing but -inf.
    """
    logits = logits.float()
    if forbidden is not None:
        logits = logits.masked_fill(forbidden, -torch.inf)
    best = logits.amax(-1, keepdim=True)
    if not bool(best.isfinite().all()):
        raise AudioLMError(
            f"{name}: the network's output is not finite, nothing can be drawn from it; "
            "the weights are damaged, or need a wider float type"
        )
    if sampling.temperature < GREEDY_BELOW:
        return logits.argmax(-1)
    logits = (logits - best) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        last = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < last, -torch.inf)
    probabilities = logits.softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1.0:
        probabilities = probabilities * _nucleus(probabilities, sampling.top_p)
    # The first of several exponential clocks to ring, with these rates, is a draw from them
    # (and exponential_ never returns 0, so what has no probability stays at 0).
    shape = (len(logits) // len(generators), logits.shape[1])
    noise = torch.cat(
        [torch.empty(shape, device=g.device).exponential_(generator=g) for g in generators]
    )
    return (probabilities / noise.to(logits.device)).argmax(-1)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Which ids (B, n) belong to the likeliest ones that reach `top_p` together; at least one."""
    ordered, order = probabilities.sort(dim=-1, descending=True)
    enough = ordered.cumsum(-1) - ordered >= top_p  # those before it suffice
    return torch.empty_like(enough).scatter_(-1, order, ~enough)
