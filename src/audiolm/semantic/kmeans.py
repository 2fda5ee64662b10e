"""k-means over a stream that need not fit in memory (paper, section III-B and IV-B).

The stream is read several times. The first pass keeps a uniform sample; on it the centroids are
chosen (k-means++) and moved until they are roughly right; then each pass over the whole stream
moves every centroid to the mean of its points (Lloyd), and a last one measures. Several processes
may each read a part of the stream: what they sum up is added (`Total`), and all get the same.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiolm.errors import TrainingError

Points = Float[Tensor, "n D"]
Stream = Iterable[Float[Tensor, "_ D"]]  # n differs from batch to batch
Batches = Callable[[], Stream]

Total = Callable[[Tensor], Tensor]
"""The sum of a tensor over all processes; the tensor itself where there is one process."""

CHUNK = 16_384
"""Points compared with all centroids at a time: 64 MB of distances to 1024 centroids."""
SAMPLE_PASSES = 10
"""Lloyd passes over the sample before the first over the stream."""


class RunningMoments:
    """Mean and variance of each dimension of a stream of (n, D), in float64."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self._mean = torch.zeros(width, dtype=torch.float64)
        self._squares = torch.zeros(width, dtype=torch.float64)  # about the mean

    def update(self, points: Points) -> None:
        """Take more points (n, D), from any device."""
        if len(points) == 0:
            return
        points = points.detach().double().cpu()
        count, mean = len(points), points.mean(dim=0)
        shift, total = mean - self._mean, self.count + count
        # Chan, Golub and LeVeque: two sets' squares add up, with what their means are apart.
        self._squares += (points - mean).square().sum(dim=0)
        self._squares += shift.square() * (self.count * count / total)
        self._mean = self._mean + shift * (count / total)
        self.count = total

    def over_all(self, total: Total) -> "RunningMoments":
        """The moments of what all processes have taken."""
        count = torch.tensor(float(self.count), dtype=torch.float64)
        counts = total(count.clone())
        together = RunningMoments(len(self._mean))
        together.count = int(counts)
        together._mean = total(self._mean * (count / counts.clamp(min=1)))
        shift = self._mean - together._mean
        together._squares = total(self._squares + count * shift.square())
        return together

    @property
    def mean(self) -> Float[Tensor, "D"]:
        """Mean (D,), float64."""
        return self._mean.clone()

    @property
    def std(self) -> Float[Tensor, "D"]:
        """Standard deviation (D,), float64, never below 1e-6, so that it can divide."""
        return (self._squares / max(self.count, 1)).sqrt().clamp(min=1e-6)


@dataclass(frozen=True)
class KMeansResult:
    """Centroids, and how well they fit the whole stream."""

    centroids: Float[Tensor, "K D"]
    """float32, on the stream's device."""
    inertia: float
    """Sum over all points of the squared distance to the nearest centroid."""
    history: list[float]
    """Inertia before each pass over the stream moved the centroids, and the final one."""
    counts: Int[Tensor, "K"]
    """Points nearest to each centroid."""


SAMPLE = 100_000
"""Points to start from: as many as all for a small stream."""


def fit_kmeans(
    batches: Batches,
    clusters: int,
    iterations: int,
    generator: torch.Generator,
    sample: int | Points = SAMPLE,
    total: Total = lambda tensor: tensor,
) -> KMeansResult:
    """Cluster a stream of points.

    Args:
        batches: gives this process's part of the stream of (n, D) tensors anew at each call; called
            iterations + 2 times, once less where the sample is given.
        clusters: K.
        iterations: passes over the stream that move the centroids.
        generator: draws the sample and the first centroids; alike in all processes.
        sample: how many points to draw and start from, for one process; or these points (m, D)
            themselves, a uniform sample of the whole stream, the same in all processes.
        total: adds up what the processes found.

    Raises:
        TrainingError: fewer points than clusters, or a sample smaller than that.
    """
    if isinstance(sample, int):
        sample = draw_sample(batches(), sample, generator)
    kept = sample  # (m, D)
    if len(kept) < clusters:
        raise TrainingError(
            f"k-means: {len(kept)} points for {clusters} clusters; add recordings or lower clusters"
        )
    centroids = kept.new_empty(0, kept.shape[1])
    centroids = add_centroids(centroids, kept, clusters, generator)
    for _ in range(SAMPLE_PASSES):
        centroids = _move(_measure([kept], centroids), kept, generator)
    history = []
    for _ in range(iterations):
        fit = _measure(batches(), centroids, total)
        history.append(fit.inertia)
        centroids = _move(fit, kept, generator)
    fit = _measure(batches(), centroids, total)
    return KMeansResult(centroids, fit.inertia, [*history, fit.inertia], fit.counts)


def nearest(points: Points, centroids: Float[Tensor, "K D"]) -> tuple[Tensor, Tensor]:
    """The nearest centroid's id (n,) and squared distance (n,), in float32 whatever autocast says.

    Of several at the same distance, the first.
    """
    with torch.autocast(points.device.type, enabled=False):
        points, centroids = points.float(), centroids.float()
        ids, distances = [], []
        squares = centroids.square().sum(dim=1)  # (K,)
        for chunk in torch.split(points, CHUNK):
            scores = torch.addmm(squares, chunk, centroids.T, alpha=-2)  # (chunk, K)
            least, chosen = scores.min(dim=1)
            ids.append(chosen)
            distances.append((least + chunk.square().sum(dim=1)).clamp(min=0))
    if not ids:
        return points.new_empty(0, dtype=torch.long), points.new_empty(0)
    return torch.cat(ids), torch.cat(distances)


def draw_sample(batches: Stream, size: int, generator: torch.Generator) -> Points:
    """A uniform sample (at most size, D) of a stream, in float32, holding little more than that.

    Every point draws a number; those with the largest stay.
    """
    kept: Tensor | None = None
    keys = torch.empty(0, device=generator.device)
    for points in batches:
        drawn = torch.rand(len(points), generator=generator, device=generator.device)
        keys = torch.cat([keys, drawn])
        kept = points.float() if kept is None else torch.cat([kept, points.float()])
        if len(keys) > size:
            keys, chosen = keys.topk(size)
            kept = kept[chosen.to(kept.device)]
    if kept is None:
        raise TrainingError("k-means: there are no points; add recordings")
    return kept


def add_centroids(
    centroids: Tensor, points: Points, count: int, generator: torch.Generator
) -> Float[Tensor, "K D"]:
    """Append `count` of the points (n, D) to centroids (k, D), far ones more likely (k-means++).

    Up to 64 are drawn one after the other, each the best of several candidates; of more, 1/64 are
    drawn at a time, which differs little once there are many, and is many times as fast.
    """
    at_once = max(1, count // 64)
    candidates = 2 + int(math.log(max(count, 1))) if at_once == 1 else 1
    distances = torch.ones(len(points), device=points.device)  # the first is as likely as any
    if len(centroids):
        distances = nearest(points, centroids)[1]
    while count > 0:
        # Points that lie on centroids are drawn only when there are no others.
        chances = (distances / distances.max().clamp(min=1e-30) + 1e-12).to(generator.device)
        drawn = min(at_once, count) if len(centroids) else 1
        tried = []
        for _ in range(candidates):
            ids = torch.multinomial(chances, drawn, generator=generator)
            chosen = points[ids.to(points.device)]
            left = nearest(points, chosen)[1]
            tried.append((chosen, torch.minimum(distances, left) if len(centroids) else left))
        chosen, distances = min(tried, key=lambda pair: float(pair[1].sum()))
        centroids = torch.cat([centroids, chosen])
        count -= drawn
    return centroids


@dataclass(frozen=True)
class _Fit:
    """One pass's sums: what moves the centroids, and how good they were."""

    centroids: Tensor  # (K, D)
    sums: Tensor  # (K, D) float64, of each centroid's points
    counts: Tensor  # (K,)
    inertia: float


def _measure(batches: Stream, centroids: Tensor, total: Total = lambda tensor: tensor) -> _Fit:
    sums = torch.zeros_like(centroids, dtype=torch.float64)
    counts = torch.zeros(len(centroids), dtype=torch.long, device=centroids.device)
    inertia = torch.zeros((), dtype=torch.float64, device=centroids.device)
    for points in batches:
        ids, distances = nearest(points, centroids)
        sums += torch.zeros_like(centroids).index_add_(0, ids, points.float())
        counts += torch.bincount(ids, minlength=len(centroids))
        inertia += distances.double().sum()
    return _Fit(centroids, total(sums), total(counts), float(total(inertia)))


def _move(fit: _Fit, sample: Points, generator: torch.Generator) -> Tensor:
    """Each centroid to the mean of its points; those without any start anew among the sample."""
    alive = fit.counts > 0
    moved = (fit.sums[alive] / fit.counts[alive, None]).float()
    return add_centroids(moved, sample, len(fit.centroids) - len(moved), generator)
