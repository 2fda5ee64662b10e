"""The residual vector quantizer: from vectors to ids, level by level, and back (paper, III-A).

Level 1 replaces a vector by the nearest of its N codes, level 2 does the same to what level 1 left
over, and so on. Codebooks follow the data by moving averages instead of gradients; what training
needs besides the codebooks lives in one sub-module, `training_state`, which an exported codec does
without.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, distributed, nn

from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError
from audiolm.shapes import Codes, Embeddings

_KMEANS_ROUNDS = 10
_VECTORS_PER_CENTROID = 4
"""The k-means start asks for this many vectors to each centroid: a centroid on every single vector
would leave nothing over, and the levels below would start from rounding noise."""

Vectors = Float[Tensor, "M d"]
Codebook = Float[Tensor, "N d"]


class QuantizerConfig(Configuration):
    """Settings of the residual quantizer."""

    levels: int = Field(default=12, ge=1)
    """Q, how many quantizers follow one another."""
    codebook_size: int = Field(default=1024, ge=2)
    """N, codes per level."""
    codebook_dim: int = Field(default=0, ge=0)
    """Width in which a level looks up its codes, between two learnt projections; 0 looks up in the
    codec's own D dimensions, as SoundStream does."""
    normalise: bool = False
    """Compare directions (vectors scaled to length 1) instead of positions."""
    decay: float = Field(default=0.99, ge=0.0, lt=1.0)
    """How much of the moving averages of a code survives one training step."""
    revive_below: float = Field(default=0.05, ge=0.0, lt=0.5)
    """A code used less often than this share of 1/N is moved to a vector of the current batch."""
    dropout: float = Field(default=0.5, ge=0.0, le=1.0)
    """Probability that a row of a training batch uses only the first 1 to Q levels, the number
    drawn evenly; it makes every prefix of the levels decodable."""


@dataclass(frozen=True)
class Quantized:
    """What the quantizer made of (B, F, D) vectors."""

    embeddings: Tensor
    """(B, F, D) float32: the sum of the chosen vectors, with a straight-through gradient."""
    codes: Tensor
    """(B, Q, F) int64: all levels, whether or not a row's output uses them."""
    commitment: Tensor
    """(): mean squared distance between the input of a level and its code, over the levels used."""
    perplexity: Tensor
    """(Q,): how many codes each level uses, e to the entropy of its moving usage (N at best); ones
    without a training state."""


class CodebookStatistics(nn.Module):
    """The moving averages behind the codebooks: kept in checkpoints, dropped when exported."""

    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, levels: int, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(levels, size))  # (Q, N) vectors per step
        self.register_buffer("sums", torch.zeros(levels, size, dim))  # (Q, N, d) their sum
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))


class ResidualQuantizer(nn.Module):
    """Q vector quantizers, each on what the ones before left over.

    Args:
        config: levels, codebooks and how they are trained.
        dim: D, width of the vectors.
    """

    codebooks: Tensor
    training_state: CodebookStatistics | None

    def __init__(self, config: QuantizerConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.dim = dim
        Q, N, d = config.levels, config.codebook_size, config.codebook_dim or dim
        self.register_buffer("codebooks", torch.randn(Q, N, d) * d**-0.5)
        projected = range(Q if config.codebook_dim else 0)
        self.down = nn.ModuleList(nn.Linear(dim, d) for _ in projected)
        self.up = nn.ModuleList(nn.Linear(d, dim) for _ in projected)
        self.training_state = CodebookStatistics(Q, N, d)
        self.register_load_state_dict_pre_hook(_strip_if_exported)  # type: ignore[no-untyped-call]

    def forward(self, x: Embeddings) -> Quantized:
        """Quantize; in training mode also start, follow and revive the codebooks.

        Randomness of training (the start, dropout, revival) comes from torch's global generator.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self._forward(x.float())

    def _forward(self, x: Tensor) -> Quantized:
        state = self.training_state if self.training else None
        if state is not None and not bool(state.started):
            self._start(state, x.detach())
        used = self._levels_used(x)  # (B,)
        residual, total = x, torch.zeros_like(x)
        commitment = x.new_zeros(())
        codes = []
        for level in range(self.config.levels):
            vectors = self._down(level, residual)  # (B, F, d)
            flat = vectors.detach().flatten(0, 1)  # (B·F, d)
            ids = self._nearest(flat, self.codebooks[level])  # (B·F,)
            chosen = self.codebooks[level][ids].view_as(vectors)
            on = (level < used).to(x.dtype)[:, None, None]  # (B, 1, 1)
            commitment = commitment + ((vectors - chosen).square() * on).mean(dim=(1, 2)).sum()
            if self.config.codebook_dim:
                # The projections learn from the decoder: each level passes its gradient on.
                quantized = self._up(level, vectors + (chosen - vectors).detach())
            else:
                quantized = chosen
            residual = residual - quantized
            total = total + quantized * on
            codes.append(ids.view(vectors.shape[:2]))
            if state is not None:
                # Every row counts here, also those whose output leaves this level out: what is
                # left over of a row is the same either way, and deep levels see few vectors.
                self._follow(state, level, flat, ids)
        if not self.config.codebook_dim:
            # One straight-through gradient for the sum: one per level would add up to Q of them.
            total = x + (total - x).detach()
        return Quantized(
            embeddings=total,
            codes=torch.stack(codes, dim=1),
            commitment=commitment / used.sum(),
            perplexity=self.perplexity(),
        )

    @torch.no_grad()
    def encode(self, x: Embeddings, levels: int | None = None) -> Codes:
        """Vectors (B, F, D) to codes (B, q, F) of the first `levels` levels, all when None.

        Raises:
            ConfigurationError: if there are not that many levels.
        """
        Q = self.config.levels
        levels = Q if levels is None else levels
        if not 1 <= levels <= Q:
            raise ConfigurationError(f"levels: {levels} asked of a codec with {Q}; give 1 to {Q}")
        with torch.autocast(x.device.type, enabled=False):
            residual = x.float()
            codes = []
            for level in range(levels):
                vectors = self._down(level, residual)
                ids = self._nearest(vectors.flatten(0, 1), self.codebooks[level])
                ids = ids.view(vectors.shape[:2])  # (B, F)
                residual = residual - self._look_up(level, ids)
                codes.append(ids)
            return torch.stack(codes, dim=1)

    def decode(self, codes: Codes) -> Embeddings:
        """Codes (B, q, F) to the sum (B, F, D) of the chosen vectors, for any 1 <= q <= Q.

        Raises:
            ConfigurationError: if there are more levels in `codes` than in the codec, or none.
        """
        Q, q = self.config.levels, codes.shape[1]
        if not 1 <= q <= Q:
            raise ConfigurationError(f"codes: {q} levels for a codec with {Q}; give 1 to {Q}")
        with torch.autocast(codes.device.type, enabled=False):
            total = self._look_up(0, codes[:, 0])
            for level in range(1, q):
                total = total + self._look_up(level, codes[:, level])
            return total

    @torch.no_grad()
    def perplexity(self) -> Float[Tensor, "Q"]:
        """How many codes each level uses, from the moving usage; ones without a training state."""
        if self.training_state is None:
            return self.codebooks.new_ones(self.config.levels)
        counts = self.training_state.counts
        share = counts / counts.sum(dim=1, keepdim=True).clamp(min=1e-12)  # (Q, N)
        entropy: Tensor = torch.special.entr(share).sum(dim=1)
        return entropy.exp()

    def strip_training_state(self) -> None:
        """Drop what only training needs; from then on the codebooks stay as they are."""
        self.training_state = None

    def _down(self, level: int, x: Tensor) -> Tensor:
        down: Tensor = self.down[level](x) if self.config.codebook_dim else x  # (B, F, d)
        return down

    def _up(self, level: int, x: Tensor) -> Tensor:
        up: Tensor = self.up[level](x) if self.config.codebook_dim else x  # (B, F, D)
        return up

    def _look_up(self, level: int, ids: Int[Tensor, "B F"]) -> Tensor:
        return self._up(level, self.codebooks[level][ids])

    def _nearest(self, vectors: Vectors, codebook: Codebook) -> Int[Tensor, "M"]:
        if self.config.normalise:
            return (vectors @ F.normalize(codebook).T).argmax(dim=1)
        # |v - c|² less |v|², which is the same for all codes; halved
        return torch.addmm(codebook.square().sum(dim=1) / 2, vectors, codebook.T, alpha=-1).argmin(
            1
        )

    def _levels_used(self, x: Tensor) -> Int[Tensor, "B"]:
        B, Q = x.shape[0], self.config.levels
        if not self.training or self.config.dropout == 0:
            return torch.full((B,), Q, device=x.device)
        fewer = torch.randint(1, Q + 1, (B,))
        return torch.where(torch.rand(B) < self.config.dropout, fewer, Q).to(x.device)

    @torch.no_grad()
    def _start(self, state: CodebookStatistics, x: Tensor) -> None:
        """Set every level's codebook by k-means on the first batch, each on what is left over."""
        residual = x
        for level in range(self.config.levels):
            vectors = self._down(level, residual).flatten(0, 1)  # (B·F, d)
            size = min(self.config.codebook_size, max(1, len(vectors) // _VECTORS_PER_CENTROID))
            centroids = vectors[torch.randperm(len(vectors))[:size].to(x.device)]
            for _ in range(_KMEANS_ROUNDS):
                counts, sums = _totals(vectors, self._nearest(vectors, centroids), size)
                mean = sums / counts.clamp(min=1)[:, None]
                centroids = torch.where(counts[:, None] > 0, mean, centroids)
            counts = _totals(vectors, self._nearest(vectors, centroids), size)[0]
            # Codes beyond the centroids start as copies that nothing has used: revival moves them.
            copies = torch.arange(self.config.codebook_size, device=x.device) % size
            self.codebooks[level] = _from_first_rank(centroids[copies])
            state.counts[level, :size] = _from_first_rank(counts)
            state.sums[level] = self.codebooks[level] * state.counts[level][:, None]
            ids = self._nearest(vectors, self.codebooks[level]).view(x.shape[:2])
            residual = residual - self._look_up(level, ids)
        state.started.fill_(True)

    @torch.no_grad()
    def _follow(self, state: CodebookStatistics, level: int, vectors: Tensor, ids: Tensor) -> None:
        """Move one level's codes towards their vectors, and dead ones to vectors of the batch."""
        N, decay = self.config.codebook_size, self.config.decay
        counts, sums = state.counts[level], state.sums[level]  # views: changed in place
        new_counts, new_sums = _over_ranks(*_totals(vectors, ids, N))
        counts.mul_(decay).add_(new_counts, alpha=1 - decay)
        sums.mul_(decay).add_(new_sums, alpha=1 - decay)
        used = counts > 1e-6
        mean = sums / counts.clamp(min=1e-6)[:, None]
        codebook = torch.where(used[:, None], mean, self.codebooks[level])

        threshold = self.config.revive_below * counts.mean()
        dead = counts < threshold  # (N,)
        order = dead.cumsum(0) - 1  # its place among the dead: no vector is given to two of them
        dead &= order < len(vectors)
        draw = torch.randperm(len(vectors)).to(vectors.device)
        drawn = _from_first_rank(vectors[draw[order.clamp(0, len(vectors) - 1)]])  # (N, d)
        # Twice the threshold: time to be chosen, and light enough to follow what chooses it.
        counts.copy_(torch.where(dead, 2 * threshold, counts))
        codebook = torch.where(dead[:, None], drawn, codebook)
        sums.copy_(torch.where(dead[:, None], drawn * 2 * threshold, sums))
        self.codebooks[level] = codebook


Network = TypeVar("Network", bound=nn.Module)


def exported(module: Network) -> Network:
    """A copy for inference: no training state in any quantizer, no gradients, evaluation mode.

    Its weights load strictly into a codec fresh from `build_codec`, which drops its own training
    state on loading them.
    """
    result = copy.deepcopy(module)
    for part in result.modules():
        if isinstance(part, ResidualQuantizer):
            part.strip_training_state()
    return result.eval().requires_grad_(False)


def _strip_if_exported(
    module: nn.Module, weights: Mapping[str, Any], prefix: str, *_: object
) -> None:
    """Before loading: weights without a training state make the quantizer one without."""
    if isinstance(module, ResidualQuantizer) and f"{prefix}training_state.started" not in weights:
        module.strip_training_state()


def _totals(vectors: Vectors, ids: Int[Tensor, "M"], size: int) -> tuple[Tensor, Tensor]:
    """How many vectors have each id (N,), and their sum (N, d)."""
    counts = torch.bincount(ids, minlength=size).to(vectors.dtype)
    sums = vectors.new_zeros(size, vectors.shape[1]).index_add_(0, ids, vectors)
    return counts, sums


def _over_ranks(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Each tensor summed over all processes, in place; unchanged where there is one process."""
    if distributed.is_available() and distributed.is_initialized():
        for tensor in tensors:
            distributed.all_reduce(tensor)
    return tensors


def _from_first_rank(tensor: Tensor) -> Tensor:
    """The first process's tensor on every process; unchanged where there is one process."""
    if distributed.is_available() and distributed.is_initialized():
        tensor = tensor.contiguous()
        distributed.broadcast(tensor, src=0)
    return tensor
