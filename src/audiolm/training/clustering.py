"""From activations to semantic tokens: one layer, normalised, k-means (paper, III-A and IV-B).

Where asked, the activations are projected in between to the directions that perturbing the
recording moves least.

The network hears every recording once. Of several processes each takes every so-manieth batch and
keeps its activations; means, scatters and the sums of k-means are added up over all of them. What a
batch draws depends on its number and the seed alone, so that the result is that of one process.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from audiolm.audio.augment import Augment, AugmentConfig
from audiolm.configuration import Configuration
from audiolm.semantic.invariance import Scatter, invariant_directions
from audiolm.semantic.kmeans import SAMPLE, KMeansResult, RunningMoments, fit_kmeans, nearest
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP, Lengths, Waveform
from audiolm.training import distributed
from audiolm.training.distributed import World
from audiolm.training.recordings import Recordings

Pair = tuple[Float[Tensor, "n D"], Float[Tensor, "n D"]]
"""Activations as they are, and of the same steps perturbed."""

TURN_ITERATIONS = 8
"""Passes of k-means between two projections."""
KEPT_BYTES = 2e9
"""What activations are kept in memory may take, of all processes together: of a longer corpus a
part of each batch, drawn at random. Of the paper's 1024 dimensions these are a million steps."""
KEPT_PER_CLUSTER = 1024
"""Steps that are kept in any case, for each cluster."""

_KEPT, _SAMPLED, _PERTURBED = 0, 1, 2  # keys of families of random numbers that share nothing


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

    Called by every process of `recordings.world`; each does its share, and all get the same.
    `progress` is told the share of this process's work that is done.

    Raises:
        TrainingError: if there are fewer steps than clusters.
    """
    device, world = recordings.device, recordings.world
    total = partial(distributed.total, world=world)
    chosen = recordings.by_length(config.batch_seconds, hours=config.hours)
    again = [] if config.projection is None else _spaced(chosen, config.projection, recordings)
    mine = range(world.rank, len(chosen), world.size)
    mine_again = range(world.rank, len(again), world.size)
    done, work = 0, len(mine) + 2 * len(mine_again)
    seconds = sum(recordings.store.length(i) for indices in chosen for i in indices) / SAMPLE_RATE
    width = network.config.conformer.width
    most = max(KEPT_BYTES / (2 * width), KEPT_PER_CLUSTER * config.clusters)
    share = most / max(1.0, seconds * SAMPLE_RATE / SEMANTIC_HOP)  # of all steps
    zeros, ones = (fill(width, device=device) for fill in (torch.zeros, torch.ones))
    unclustered = W2vBertTokenizer.from_network(
        network, config.layer, zeros, ones, zeros.expand(config.clusters, width)
    )

    moments = RunningMoments(width)
    kept: dict[int, Tensor] = {}  # (n, D) float16, by the number of the batch
    for number in mine:
        waveform, lengths = recordings.whole(chosen[number])  # (B, T), (B,)
        features = _real_features(unclustered, waveform, lengths)  # (n, D)
        moments.update(features)
        kept[number] = _part(features, share, (seed, _KEPT, number)).half()
        done += 1
        progress(done / work)
    if not kept:  # fewer batches than processes
        kept[world.rank] = zeros.half().expand(0, width)
    moments = moments.over_all(total)
    mean, std = moments.mean.float(), moments.std.float()
    if not config.normalise:
        mean, std = torch.zeros_like(mean), torch.ones_like(std)
    mean, std = mean.to(device), std.to(device)

    projection: Tensor | None = None
    if config.projection is not None:
        augment = Augment(config.projection.augment)
        pairs: list[Pair] = []
        for number in mine_again:
            waveform, lengths = recordings.whole(again[number])  # (B, T), (B,)
            heard_as = augment(waveform, _generator((seed, _PERTURBED, number)))
            clean, perturbed = (
                (_real_features(unclustered, sound, lengths) - mean) / std
                for sound in (waveform, heard_as)
            )
            pairs.append((clean.half(), perturbed.half()))  # (n, D) each
            done += 2
            progress(done / work)
        if not pairs:
            pairs.append((zeros.half().expand(0, width), zeros.half().expand(0, width)))
        projection = fit_projection(pairs, config.projection, config.clusters, seed, world)

    def point(features: Tensor) -> Tensor:
        normalised = (features.float() - mean) / std
        return normalised if projection is None else normalised @ projection

    result = fit_kmeans(
        lambda: (point(features) for features in kept.values()),
        config.clusters,
        iterations=config.iterations,
        generator=torch.Generator().manual_seed(seed),
        sample=point(_sample(kept, seed, world)),
        total=total,
    )
    # Other processes may have rounded otherwise; the tokenizer is to be one and the same.
    mean, std, centroids = (_of_rank_0(x, world) for x in (mean, std, result.centroids))
    if projection is not None:
        projection = _of_rank_0(projection, world)
    return Clustering(
        W2vBertTokenizer.from_network(network, config.layer, mean, std, centroids, projection),
        metrics=_metrics(result) | {"hours": seconds / 3600},
        warnings=_warnings(result),
    )


def _metrics(result: KMeansResult) -> dict[str, float]:
    share = result.counts.double() / result.counts.sum()
    return {
        "inertia per vector": float(result.inertia) / float(result.counts.sum()),
        "used ids": float((result.counts > 0).sum()),
        "entropy": float(-(share * share.clamp_min(1e-12).log2()).sum()),
    }


def _warnings(result: KMeansResult) -> list[str]:
    used, clusters = int((result.counts > 0).sum()), len(result.counts)
    if used >= 0.5 * clusters:
        return []
    return [
        f"only {used} of {clusters} semantic ids are used: train the network longer, "
        "or lower clusters"
    ]


def fit_projection(
    pairs: Sequence[Pair],
    config: ProjectionConfig,
    clusters: int,
    seed: int,
    world: World = World(),  # noqa: B008 - it is frozen
) -> Float[Tensor, "D d"]:
    """The directions that tell steps apart and that perturbation moves least.

    Args:
        pairs: normalised activations (n, D), and those of the same steps perturbed, batch by batch:
            this process's share, every so-manieth of all; a batch without steps where it has none.
        config: how many directions, and how often they are found anew.
        clusters: K, of the clusters around whose means the later turns look.
        seed: of these clusters.
        world: the processes that look together.
    """
    total = partial(distributed.total, world=world)
    width = pairs[0][0].shape[1]
    sample = torch.empty(0)
    if config.turns:
        cleans = {world.rank + k * world.size: clean for k, (clean, _) in enumerate(pairs)}
        sample = _sample(cleans, seed, world)

    def directions(meant: Iterable[Tensor]) -> Tensor:
        """By how far perturbed steps are from what is meant by them, batches of (n, D)."""
        scatter = Scatter(width)
        for (clean, perturbed), reference in zip(pairs, meant, strict=True):
            scatter.update(clean.float(), perturbed.float() - reference.float())
        scatter = scatter.over_all(total)
        found = invariant_directions(scatter.total, scatter.nuisance, config.dims, config.shrinkage)
        return found.to(pairs[0][0].device)  # (D, d)

    projection = directions(clean for clean, _ in pairs)
    for turn in range(config.turns):

        def projected(projection: Tensor = projection) -> Iterator[Tensor]:
            return (clean.float() @ projection for clean, _ in pairs)

        generator = torch.Generator().manual_seed(seed + turn)
        centroids = fit_kmeans(
            projected, clusters, TURN_ITERATIONS, generator, sample @ projection, total
        ).centroids
        ids = [nearest(points, centroids)[0] for points in projected()]  # (n,) each
        sums = torch.zeros(clusters, width, device=centroids.device)
        counts = torch.zeros(clusters, device=centroids.device)
        for (clean, _), chosen in zip(pairs, ids, strict=True):
            sums.index_add_(0, chosen, clean.float())
            counts += torch.bincount(chosen, minlength=clusters)
        sums, counts = total(sums), total(counts)
        means = sums / counts.clamp(min=1)[:, None]  # (K, D), of clusters before the projection
        projection = directions([means[chosen] for chosen in ids])
    return projection


def _spaced(
    chosen: list[list[int]], config: ProjectionConfig, recordings: Recordings
) -> list[list[int]]:
    """Of the batches that are clustered, so many at equal distances as last for `hours`."""
    samples = sum(recordings.store.length(i) for indices in chosen for i in indices)
    hours = samples / SAMPLE_RATE / 3600
    count = min(len(chosen), math.ceil(len(chosen) * config.hours / hours))
    return [chosen[k * len(chosen) // count] for k in range(count)]


def _sample(parts: Mapping[int, Tensor], seed: int, world: World) -> Float[Tensor, "m D"]:
    """A uniform sample, in float32, of the batches (n, D) of all processes, given by number."""
    total = partial(distributed.total, world=world)
    some = next(iter(parts.values()))
    slots = int(total(torch.tensor(max(parts) + 1)))  # more than there are numbers
    share = SAMPLE / max(1, int(total(torch.tensor(sum(map(len, parts.values()))))))
    drawn = {
        number: _part(batch, share, (seed, _SAMPLED, number)) for number, batch in parts.items()
    }
    sizes = torch.zeros(slots, dtype=torch.long)
    for number, batch in drawn.items():
        sizes[number] = len(batch)
    sizes = total(sizes)
    begins = (sizes.cumsum(0) - sizes).tolist()
    sample = torch.zeros(int(sizes.sum()), some.shape[1], device=some.device)
    for number, batch in drawn.items():
        sample[begins[number] : begins[number] + len(batch)] = batch.float()
    return total(sample)


def _part(batch: Tensor, share: float, key: tuple[int, ...]) -> Tensor:
    """A random part of the rows of a batch (n, D): a function of the key."""
    count = math.ceil(share * len(batch))
    if count >= len(batch):
        return batch
    chosen = torch.randperm(len(batch), generator=_generator(key))[:count]
    return batch[chosen.to(batch.device)]


def _generator(key: tuple[int, ...]) -> torch.Generator:
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


def _of_rank_0(tensor: Tensor, world: World) -> Tensor:
    return distributed.total(tensor if world.writes else torch.zeros_like(tensor), world)


def _real_features(tokenizer: W2vBertTokenizer, waveform: Waveform, lengths: Lengths) -> Tensor:
    """Activations (n, D) of all steps of a batch that are not padding."""
    features = tokenizer.features(waveform, lengths)  # (B, S, D)
    steps = -(-lengths // SEMANTIC_HOP)
    real = torch.arange(features.shape[1], device=features.device) < steps[:, None]  # (B, S)
    return features[real]
