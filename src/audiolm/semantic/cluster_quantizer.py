"""Targets that stand still: online k-means over cepstra, in place of a codebook learnt by gradient.

A Gumbel codebook over the network's own features has to be found along with the features, which
takes much data; on a few hours it collapses to a handful of entries, or drifts faster than the
network can follow. Here the entries are clusters of what any recording shows from the first step
on: cepstra of each of a step's four spectra, in HuBERT's first round the first thirteen. Losses
and network stay w2v-BERT's.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from audiolm.shapes import Features, FlatMask, SemanticIds

CEPSTRA = (0, 13)
"""Cosines of the log-mel spectrum, the last excluded: these are its envelope, which in speech is
what is said more than who says it."""
DECAY = 0.999
"""Of the running means, per step; the clusters settle within some thousand steps."""
UNUSED = 0.05
"""A cluster used less often than this share of an even use is moved to a vector of the batch."""
FIRST_ROUNDS = 10
"""Rounds of k-means on the first batch."""


class ClusterQuantizer(nn.Module):
    """Names the nearest cluster of each step's cepstra.

    Args:
        bins: bands of the log-mel spectrum.
        entries: V, clusters.
        width: width of the vectors that stand for the clusters in the contrastive loss.
        cepstra: which cosines of the spectrum, C of them, the last excluded.
    """

    cosines: Tensor
    centroids: Tensor
    counts: Tensor
    spread: Tensor
    started: Tensor

    def __init__(
        self, bins: int, entries: int, width: int, cepstra: tuple[int, int] = CEPSTRA
    ) -> None:
        super().__init__()
        size = 4 * (cepstra[1] - cepstra[0])
        band = (torch.arange(bins) + 0.5) * math.pi / bins
        cosines = torch.cos(torch.arange(*cepstra)[:, None] * band) * (2 / bins) ** 0.5
        self.register_buffer("cosines", cosines.T, persistent=False)  # (bins, C)
        self.register_buffer("centroids", torch.zeros(entries, size))
        self.register_buffer("counts", torch.zeros(entries))
        self.register_buffer("spread", torch.ones(size))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.out = nn.Linear(size, width)

    def forward(
        self,
        mel: Float[Tensor, "B frames bins"],
        real: FlatMask,
        generator: torch.Generator | None = None,
    ) -> tuple[Features, SemanticIds]:
        """Log-mel frames (B, 4 S, bins) to vectors (B, S, width) and ids (B, S).

        In training mode the clusters follow the steps that are `real`; those that are begun or
        revived are drawn by `generator`, torch's global one when None.
        """
        with torch.autocast(mel.device.type, enabled=False):
            x = self._cepstra(mel.float(), real)  # (B, S, 4 C)
            if self.training:
                self._follow(x[real], generator)
            x = x / self.spread
            ids = self._nearest(x.flatten(0, 1)).view(x.shape[:2])
            return self.out(self.centroids[ids]), ids

    def _cepstra(self, mel: Tensor, real: FlatMask) -> Tensor:
        """Cepstra (B, S, 4 C) less their mean over each row, which the microphone makes."""
        x: Tensor = (mel @ self.cosines).unflatten(1, (-1, 4)).flatten(2)
        count = real.sum(1).clamp(min=1)[:, None, None]
        return x - (x * real[..., None]).sum(1, keepdim=True) / count

    def _nearest(self, x: Tensor) -> Tensor:
        half = self.centroids.square().sum(1) / 2
        nearest: Tensor = torch.addmm(half, x, self.centroids.T, alpha=-1).argmin(1)
        return nearest

    @torch.no_grad()
    def _follow(self, x: Tensor, generator: torch.Generator | None) -> None:
        """Move the clusters towards steps (n, 4 C), and unused ones onto some of them."""
        entries = len(self.centroids)
        if not bool(self.started):
            self.spread.copy_(_of_first_rank(x.std(0, correction=0).clamp(min=1e-3)))
            x = x / self.spread
            self.centroids.copy_(_of_first_rank(_drawn(x, entries, generator)))
            for _ in range(FIRST_ROUNDS):
                counts, sums = self._totals(x)
                mean = sums / counts.clamp(min=1)[:, None]
                self.centroids.copy_(torch.where(counts[:, None] > 0, mean, self.centroids))
            self.counts.copy_(counts)
            self.started.fill_(True)
            return
        x = x / self.spread
        counts, sums = self._totals(x)
        self.counts.mul_(DECAY).add_(counts, alpha=1 - DECAY)
        # Each centroid moves by the share of its weight that is new.
        step = ((1 - DECAY) * counts / self.counts.clamp(min=1e-6)).clamp(max=1)[:, None]
        self.centroids.lerp_(sums / counts.clamp(min=1)[:, None], step)
        unused = self.counts < UNUSED * self.counts.mean()
        drawn = _of_first_rank(_drawn(x, entries, generator))
        self.centroids.copy_(torch.where(unused[:, None], drawn, self.centroids))
        self.counts.copy_(torch.where(unused, self.counts.mean(), self.counts))

    def _totals(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How many steps of all processes each cluster has (V,), and their sums (V, size)."""
        ids = self._nearest(x)
        counts = torch.bincount(ids, minlength=len(self.centroids)).to(x.dtype)
        sums = torch.zeros_like(self.centroids).index_add_(0, ids, x)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(counts)
            distributed.all_reduce(sums)
        return counts, sums


def one_hot(ids: SemanticIds, entries: int) -> Float[Tensor, "B S 1 V"]:
    """Each id as a distribution, for the diversity of their use."""
    return F.one_hot(ids, entries).float()[:, :, None]


def _drawn(x: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Some of the vectors (n, d), with repetition: (count, d)."""
    device = generator.device if generator is not None else torch.device("cpu")
    chosen = torch.randint(len(x), (count,), generator=generator, device=device)
    return x[chosen.to(x.device)]


def _of_first_rank(tensor: Tensor) -> Tensor:
    if distributed.is_available() and distributed.is_initialized():
        tensor = tensor.contiguous()
        distributed.broadcast(tensor, src=0)
    return tensor
