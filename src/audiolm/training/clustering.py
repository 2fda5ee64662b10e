"""From activations to semantic tokens: one layer, normalised, k-means (paper, III-A and IV-B)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from audiolm.configuration import Configuration
from audiolm.semantic.kmeans import RunningMoments, fit_kmeans
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP
from audiolm.training.recordings import Recordings

KEPT_BYTES = 2e9
"""Features of a corpus up to this size are kept in memory."""


class ClusteringConfig(Configuration):
    """Which layer becomes tokens, and how many."""

    layer: int = Field(default=7, gt=0)
    """The layer, counted from 1 over all Conformer layers."""
    clusters: int = Field(default=1024, gt=1)
    """K, how many semantic ids there are."""
    normalise: bool = True
    """Scale each dimension to zero mean and unit variance first."""
    iterations: int = Field(default=20, gt=0)
    """Passes over the features."""
    hours: float = Field(default=10.0, gt=0)
    """Audio to cluster, at most."""
    batch_seconds: float = Field(default=320.0, gt=0)
    """Audio in one batch of features."""


@dataclass(frozen=True)
class Clustering:
    """A tokenizer, and what its clusters look like."""

    tokenizer: W2vBertTokenizer
    figures: dict[str, float]
    alarms: list[str]


def cluster(
    network: W2vBert,
    recordings: Recordings,
    config: ClusteringConfig,
    seed: int,
    progress: Callable[[float], None],
) -> Clustering:
    """Cluster the activations of one layer, as the tokenizer will hear them: in its windows.

    Features are kept in memory as float16 where they fit in `KEPT_BYTES`, so that the network runs
    once; otherwise it runs anew on every pass.
    """
    device = recordings.device
    chosen = recordings.by_length(config.batch_seconds, hours=config.hours)
    seconds = sum(recordings.store.length(i) for indices in chosen for i in indices) / SAMPLE_RATE
    width = network.config.conformer.width
    fits = seconds * (SAMPLE_RATE / SEMANTIC_HOP) * width * 2 < KEPT_BYTES
    passes = 1 if fits else config.iterations + 3
    done = 0
    zeros, ones = (fill(width, device=device) for fill in (torch.zeros, torch.ones))
    unclustered = W2vBertTokenizer.from_network(
        network, config.layer, zeros, ones, zeros.expand(config.clusters, width)
    )

    def activations() -> Iterator[Tensor]:
        nonlocal done
        for indices in chosen:
            waveform, lengths = recordings.whole(indices)  # (B, T), (B,)
            features = unclustered.features(waveform, lengths)  # (B, S, D)
            steps = -(-lengths // SEMANTIC_HOP)
            real = torch.arange(features.shape[1], device=device) < steps[:, None]  # (B, S)
            done += 1
            progress(done / (passes * len(chosen)))
            yield features[real]  # (n, D)

    kept = [batch.half() for batch in activations()] if fits else None

    def raw() -> Iterator[Tensor]:
        return (batch.float() for batch in kept) if kept is not None else activations()

    moments = RunningMoments(width)
    for batch in raw():
        moments.update(batch)
    mean, std = moments.mean.float(), moments.std.float()
    if not config.normalise:
        mean, std = torch.zeros_like(mean), torch.ones_like(std)
    mean, std = mean.to(device), std.to(device)

    result = fit_kmeans(
        lambda: ((batch - mean) / std for batch in raw()),
        config.clusters,
        iterations=config.iterations,
        generator=torch.Generator().manual_seed(seed),
    )
    share = result.counts.double() / result.counts.sum()
    entropy = float(-(share * share.clamp_min(1e-12).log2()).sum())
    used = int((result.counts > 0).sum())
    alarms = []
    if used < 0.5 * config.clusters:
        alarms.append(
            f"only {used} of {config.clusters} semantic ids are used: train the network longer, "
            "or lower clusters"
        )
    tokenizer = W2vBertTokenizer.from_network(network, config.layer, mean, std, result.centroids)
    figures = {
        "inertia per vector": float(result.inertia) / float(result.counts.sum()),
        "used ids": float(used),
        "entropy": entropy,
        "hours": seconds / 3600,
    }
    return Clustering(tokenizer, figures, alarms)
