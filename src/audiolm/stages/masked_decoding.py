"""Filling masks many at a time: level by level, what is surest first (SoundStorm, section 3.3).

A level is filled in some passes. In each, every mask of the level is drawn an id; those that the
network is surest of stay, the others are masked again, by a cosine fewer with every pass (MaskGIT,
Chang et al. 2022). How sure it is, is the log-probability of the drawn id, with noise that fades
from pass to pass, so that not only the obvious comes first.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiolm.shapes import FRAMES_PER_STEP, Codes, SemanticIds
from audiolm.stages.frame_transformer import FrameTransformer
from audiolm.stages.guidance import guided
from audiolm.stages.masking import cosine, rank
from audiolm.stages.sampling import GREEDY_BELOW, Sampling, draw
from audiolm.stages.streams import MASK, PAD, Streams


@dataclass(frozen=True)
class MaskedDecodingOptions:
    """How masks are filled."""

    passes: tuple[int, ...]
    """Of each level."""
    sampling: Sampling
    """How ids are drawn; at temperature 0 nothing is random, the order of the masks neither."""
    noise: float
    """How much the order of the masks is drawn, in the first pass."""
    one_pass_temperature: float
    """Highest temperature at a level of one pass."""
    generator: torch.Generator
    name: str
    """The stage, as error messages call it."""
    progress: Callable[[int], None] | None = None
    """Called with the number of positions filled since the last call."""
    products: torch.dtype = torch.float32
    """Type of the matrix products."""

    def sampling_of(self, level: int) -> Sampling:
        """How the ids of a level are drawn, counted from 0."""
        if self.passes[level] > 1:
            return self.sampling
        cooler = min(self.sampling.temperature, self.one_pass_temperature)
        return self.sampling.model_copy(update={"temperature": cooler})


def quick_products(device: torch.device) -> torch.dtype:
    """The type of matrix products with which a pass is quickest.

    bfloat16 on CPUs that multiply it in hardware, where all of a pass is such products; float32
    elsewhere.
    """
    in_hardware = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if device.type == "cpu" and in_hardware else torch.float32


def fill_windows(
    network: FrameTransformer,
    semantic: SemanticIds,
    codes: Codes,
    context: int,
    options: MaskedDecodingOptions,
) -> Iterator[Streams]:
    """All frames of `codes` (B, Q', F) with their masks filled, in pieces, known frames first.

    Longer recordings are filled in windows of `context` frames, from left to right: half of a
    window is what lies before its first mask, filled by the windows before where it was masked.
    """
    codes, frames = codes.clone(), codes.shape[2]
    masked = (codes == MASK).any(0).any(0)  # (F,)
    first = int(masked.byte().argmax()) if bool(masked.any()) else frames
    yield Streams(codes=codes[..., :first])
    given = first
    while given < frames:
        rest = masked[given:]
        if not bool(rest.any()):
            yield Streams(codes=codes[..., given:])
            return
        first = given + int(rest.byte().argmax())
        start = max(0, min(first - context // 2, frames - context + FRAMES_PER_STEP - 1))
        start -= start % FRAMES_PER_STEP  # windows begin with a whole semantic step
        stop = min(start + context, frames)
        said = semantic[:, start // FRAMES_PER_STEP : -(-stop // FRAMES_PER_STEP)]
        codes[..., start:stop] = fill_masks(network, said, codes[..., start:stop], options)
        yield Streams(codes=codes[..., given:stop])
        given = stop


def fill_masks(
    network: FrameTransformer, semantic: SemanticIds, codes: Codes, options: MaskedDecodingOptions
) -> Codes:
    """`codes` (B, Q', F) with every `MASK` filled; what is known stays, and is seen, as it is."""
    codes = codes.clone()
    bias = network.bias(codes.shape[2]).to(options.products)  # once for all passes
    lower = options.products != torch.float32
    with torch.autocast(codes.device.type, options.products if lower else None, enabled=lower):
        for level, passes in enumerate(options.passes):
            counts = (codes[:, level] == MASK).sum(1).tolist()  # masks of this level, by row
            for done in range(1, passes + 1):
                left = [math.floor(count * cosine(done / passes)) for count in counts]
                stay = torch.tensor(left, device=codes.device)  # (B,) to be masked again
                masked = codes[:, level] == MASK  # (B, F)
                fewer = masked.sum(1) - stay  # (B,)
                if not bool((fewer > 0).any()):
                    continue  # few masks, many passes
                hidden = network(codes, semantic, bias)[masked]  # (n, D)
                logits = network.logits(hidden, level).float()  # (n, N)
                if options.sampling.guidance != 1.0:
                    hidden = network(codes, torch.full_like(semantic, PAD), bias)[masked]
                    unconditional = network.logits(hidden, level).float()
                    both = torch.cat([logits, unconditional])  # (2 n, N)
                    logits = guided(both, options.sampling.guidance)
                ids, sure = _drawn(logits, options, level, 1 - done / passes)
                surest = codes.new_full(masked.shape, 0, dtype=sure.dtype)
                surest = surest.masked_fill(~masked, math.inf).masked_scatter(masked, sure)
                drawn = codes[:, level].masked_scatter(masked, ids)
                again = masked & (rank(surest) < stay[:, None])
                codes[:, level] = drawn.masked_fill(again, MASK)
                if options.progress:
                    options.progress(int(fewer.max()))
    return codes


def _drawn(
    logits: Float[Tensor, "n N"], options: MaskedDecodingOptions, level: int, noise: float
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
    """An id for each mask, and how sure the network is of it.

    `noise` is the share that is left of the noise.
    """
    sampling, generator = options.sampling_of(level), options.generator
    ids = draw(logits, sampling, [generator], options.name)
    sure = logits.log_softmax(-1).gather(1, ids[:, None]).squeeze(1)
    if sampling.temperature >= GREEDY_BELOW and noise > 0:
        clocks = torch.empty(len(sure), device=generator.device).exponential_(generator=generator)
        gumbel = -clocks.log().to(sure.device)  # the logarithm of an exponential is Gumbel's
        sure = sure + options.noise * noise * gumbel
    return ids, sure
