"""From activations to semantic tokens: one layer, normalised, k-means (paper, III-A and IV-B).

Where asked, the activations are projected in between to the directions that perturbing the
recording moves least.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from audiolm.audio.augment import Augment, AugmentConfig
from audiolm.configuration import Configuration
from audiolm.semantic.invariance import Scatter, invariant_directions
from audiolm.semantic.kmeans import RunningMoments, fit_kmeans, nearest
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP, Lengths, Waveform
from audiolm.training.recordings import Recordings

Pair = tuple[Float[Tensor, "n D"], Float[Tensor, "n D"]]
"""Activations as they are, and of the same steps perturbed."""

TURN_ITERATIONS = 8
"""Passes of k-means between two projections."""
KEPT_BYTES = 2e9
"""Features of a corpus up to this size are kept in memory."""


class ProjectionConfig(Configuration):
    """A projection in which the voice and the room count less."""

    dims: int = Field(default=32, gt=0)
    """Directions that are kept."""
    shrinkage: float = Field(default=0.1, ge=0)
    """How much of a round matrix is mixed into what perturbation does."""
    turns: int = Field(default=0, ge=0)
    """How often the directions are found anew, by what perturbed steps are away from the mean of
    their cluster."""
    hours: float = Field(default=2.5, gt=0)
    """Audio that is heard a second time, perturbed, at most; its activations are kept in memory."""
    augment: AugmentConfig = AugmentConfig(voice=1.0, room=0.3, babble=0.0, noise=0.3)
    """The perturbation."""


class ClusteringConfig(Configuration):
    """Which layer becomes tokens, and how many."""

    layer: int = Field(default=7, gt=0)
    """The layer, counted from 1 over all Conformer layers."""
    clusters: int = Field(default=1024, gt=1)
    """K, how many semantic ids there are."""
    normalise: bool = True
    """Scale each dimension to zero mean and unit variance first."""
    projection: ProjectionConfig | None = None
    """A projection that follows; null for none, as in the paper."""
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
    metrics: dict[str, float]
    warnings: list[str]


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
    again = [] if config.projection is None else _spread(chosen, config.projection, recordings)
    done, work = 0, passes * len(chosen) + 2 * len(again)
    zeros, ones = (fill(width, device=device) for fill in (torch.zeros, torch.ones))
    unclustered = W2vBertTokenizer.from_network(
        network, config.layer, zeros, ones, zeros.expand(config.clusters, width)
    )

    def activations() -> Iterator[Tensor]:
        nonlocal done
        for indices in chosen:
            waveform, lengths = recordings.whole(indices)  # (B, T), (B,)
            done += 1
            progress(done / work)
            yield _real_features(unclustered, waveform, lengths)  # (n, D)

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

    def pairs() -> Iterator[Pair]:
        nonlocal done
        assert config.projection is not None
        augment = Augment(config.projection.augment)
        generator = torch.Generator().manual_seed(seed)
        for indices in again:
            waveform, lengths = recordings.whole(indices)  # (B, T), (B,)
            clean, perturbed = (
                (_real_features(unclustered, sound, lengths) - mean) / std
                for sound in (waveform, augment(waveform, generator))
            )
            done += 2
            progress(done / work)
            yield clean.half(), perturbed.half()  # (n, D) each

    projection: Tensor | None = None
    if config.projection is not None:
        projection = fit_projection(list(pairs()), config.projection, config.clusters, seed)

    def points() -> Iterator[Tensor]:
        for batch in raw():
            normalised = (batch - mean) / std
            yield normalised if projection is None else normalised @ projection

    result = fit_kmeans(
        points,
        config.clusters,
        iterations=config.iterations,
        generator=torch.Generator().manual_seed(seed),
    )
    share = result.counts.double() / result.counts.sum()
    entropy = float(-(share * share.clamp_min(1e-12).log2()).sum())
    used = int((result.counts > 0).sum())
    warnings = []
    if used < 0.5 * config.clusters:
        warnings.append(
            f"only {used} of {config.clusters} semantic ids are used: train the network longer, "
            "or lower clusters"
        )
    tokenizer = W2vBertTokenizer.from_network(
        network, config.layer, mean, std, result.centroids, projection
    )
    metrics = {
        "inertia per vector": float(result.inertia) / float(result.counts.sum()),
        "used ids": float(used),
        "entropy": entropy,
        "hours": seconds / 3600,
    }
    return Clustering(tokenizer, metrics, warnings)


def fit_projection(
    pairs: Sequence[Pair], config: ProjectionConfig, clusters: int, seed: int
) -> Float[Tensor, "D d"]:
    """The directions that tell steps apart and that perturbation moves least.

    Args:
        pairs: normalised activations (n, D), and those of the same steps perturbed, batch by batch.
        config: how many directions, and how often they are found anew.
        clusters: K, of the clusters around whose means the later turns look.
        seed: of these clusters.
    """
    width = pairs[0][0].shape[1]

    def directions(meant: Iterable[Tensor]) -> Tensor:
        """By how far perturbed steps are from what is meant by them, batches of (n, D)."""
        scatter = Scatter(width)
        for (clean, perturbed), reference in zip(pairs, meant, strict=True):
            scatter.update(clean.float(), perturbed.float() - reference.float())
        found = invariant_directions(scatter.total, scatter.nuisance, config.dims, config.shrinkage)
        return found.to(pairs[0][0].device)  # (D, d)

    projection = directions(clean for clean, _ in pairs)
    for turn in range(config.turns):

        def projected(projection: Tensor = projection) -> Iterator[Tensor]:
            return (clean.float() @ projection for clean, _ in pairs)

        generator = torch.Generator().manual_seed(seed + turn)
        centroids = fit_kmeans(projected, clusters, TURN_ITERATIONS, generator).centroids
        ids = [nearest(points, centroids)[0] for points in projected()]  # (n,) each
        sums = torch.zeros(clusters, width, device=centroids.device)
        counts = torch.zeros(clusters, device=centroids.device)
        for (clean, _), chosen in zip(pairs, ids, strict=True):
            sums.index_add_(0, chosen, clean.float())
            counts += torch.bincount(chosen, minlength=clusters)
        means = sums / counts.clamp(min=1)[:, None]  # (K, D), of clusters before the projection
        projection = directions([means[chosen] for chosen in ids])
    return projection


def _spread(
    chosen: list[list[int]], config: ProjectionConfig, recordings: Recordings
) -> list[list[int]]:
    """Of the batches that are clustered, so many at equal distances as last for `hours`."""
    samples = sum(recordings.store.length(i) for indices in chosen for i in indices)
    hours = samples / SAMPLE_RATE / 3600
    count = min(len(chosen), math.ceil(len(chosen) * config.hours / hours))
    return [chosen[k * len(chosen) // count] for k in range(count)]


def _real_features(tokenizer: W2vBertTokenizer, waveform: Waveform, lengths: Lengths) -> Tensor:
    """Activations (n, D) of all steps of a batch that are not padding."""
    features = tokenizer.features(waveform, lengths)  # (B, S, D)
    steps = -(-lengths // SEMANTIC_HOP)
    real = torch.arange(features.shape[1], device=features.device) < steps[:, None]  # (B, S)
    return features[real]
