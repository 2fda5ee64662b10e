"""Streamed k-means against one point at a time, against scikit-learn, and in corners."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from audiolm.errors import TrainingError
from audiolm.semantic import kmeans
from audiolm.semantic.kmeans import (
    RunningMoments,
    add_centroids,
    draw_sample,
    fit_kmeans,
    nearest,
)
from reference.kmeans import lloyd_by_hand, nearest_by_hand


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(points: int, blobs: int, width: int = 6, seed: int = 0) -> torch.Tensor:
    """Points around `blobs` centres of several sizes: (points, width)."""
    g = generator(seed)
    centres = 4 * torch.randn(blobs, width, generator=g)
    return centres[torch.randint(0, blobs, (points,), generator=g)] + torch.randn(
        points, width, generator=g
    )


@given(cuts=st.lists(st.integers(0, 40), min_size=1, max_size=6), offset=st.floats(-1e4, 1e4))
@settings(max_examples=30, deadline=None)
def test_moments_do_not_depend_on_how_the_stream_is_cut(cuts: list[int], offset: float):
    points = torch.randn(sum(cuts) + 2, 3, generator=generator(), dtype=torch.float64) + offset
    moments = RunningMoments(3)
    for batch in points.split([*cuts, 2]):
        moments.update(batch)
    torch.testing.assert_close(moments.mean, points.mean(dim=0))
    torch.testing.assert_close(moments.std, points.std(dim=0, correction=0))


def test_a_dead_dimension_can_still_divide():
    moments = RunningMoments(2)
    moments.update(torch.ones(5, 2))
    assert (moments.std > 0).all()


@given(points=st.integers(1, 30), clusters=st.integers(1, 8), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_nearest_is_the_nearest(points: int, clusters: int, seed: int):
    x = torch.randn(points, 4, generator=generator(seed))
    centroids = torch.randn(clusters, 4, generator=generator(seed + 1))
    ids, distances = nearest(x, centroids)
    by_hand = nearest_by_hand(x.numpy(), centroids.numpy())
    assert ids.tolist() == by_hand[0]
    np.testing.assert_allclose(distances.numpy(), by_hand[1], rtol=1e-4, atol=1e-5)


def test_nearest_in_chunks_and_under_autocast(monkeypatch: pytest.MonkeyPatch):
    x, centroids = blobs(100, 5), blobs(20, 5, seed=1)
    expected = nearest(x, centroids)
    monkeypatch.setattr(kmeans, "CHUNK", 7)
    with torch.autocast("cpu", torch.bfloat16):
        ids, distances = nearest(x, centroids)
    assert torch.equal(ids, expected[0])
    torch.testing.assert_close(distances, expected[1])
    assert len(nearest(x[:0], centroids)[0]) == 0


def test_passes_over_the_stream_are_lloyds(monkeypatch: pytest.MonkeyPatch):
    """From the same first centroids, streamed passes end where plain ones do."""
    points = blobs(120, 4)
    first = points[:4].clone()
    monkeypatch.setattr(kmeans, "SAMPLE_PASSES", 0)
    monkeypatch.setattr(
        kmeans, "add_centroids", lambda c, p, n, g: torch.cat([c, first[:n]]) if n else c
    )
    result = fit_kmeans(lambda: points.split(50), 4, iterations=5, generator=generator())
    expected = lloyd_by_hand(points.numpy(), first.numpy(), passes=5)
    np.testing.assert_allclose(result.centroids.numpy(), expected, rtol=1e-4, atol=1e-4)
    ids, distances = nearest_by_hand(points.numpy(), expected)
    assert result.counts.tolist() == np.bincount(ids, minlength=4).tolist()
    assert result.inertia == pytest.approx(sum(distances), rel=1e-4)


@pytest.mark.parametrize(("true", "clusters", "sample"), [(20, 32, 10_000), (50, 100, 1500)])
def test_as_good_as_scikit_learn(true: int, clusters: int, sample: int):
    points = blobs(4000, true)
    ours = fit_kmeans(lambda: points.split(700), clusters, 20, generator(), sample=sample)
    theirs = KMeans(clusters, n_init=3, random_state=0).fit(points.numpy())
    assert ours.inertia <= 1.03 * theirs.inertia_
    assert int(ours.counts.sum()) == 4000
    assert (ours.counts > 0).all()


def test_every_pass_helps_and_one_seed_gives_one_result():
    points = blobs(600, 10)
    first, again = (fit_kmeans(lambda: [points], 16, 8, generator(3)) for _ in range(2))
    assert len(first.history) == 9
    assert all(b <= a * (1 + 1e-6) for a, b in zip(first.history, first.history[1:], strict=False))
    assert first.history[-1] == first.inertia
    assert torch.equal(first.centroids, again.centroids)


def test_the_stream_counts_not_only_the_sample():
    """Most of the weight lies where a small sample would not tell how much."""
    points = torch.cat([torch.randn(5000, 2), 50 + torch.randn(100, 2)])
    mean = fit_kmeans(lambda: points.split(999), 1, 1, generator(), sample=50).centroids[0]
    torch.testing.assert_close(mean, points.mean(dim=0), atol=1e-3, rtol=1e-3)


def test_a_cluster_without_points_starts_anew():
    points = blobs(200, 3)
    far = torch.full((1, 6), 1e4)
    fit = kmeans._measure([points], torch.cat([points[:2], far]))
    assert fit.counts[2] == 0
    moved = kmeans._move(fit, points, generator())
    assert moved.shape == (3, 6)
    assert (moved[2] == points).all(dim=1).any()


def test_first_centroids_are_far_apart():
    """k-means++ finds 8 tight, distant groups, where a uniform draw nearly never would."""
    groups = 100 * torch.eye(8).repeat_interleave(10, dim=0)
    points = groups + 0.01 * torch.randn(80, 8, generator=generator())
    chosen = add_centroids(points[:0], points, 8, generator())
    assert sorted((chosen / 100).round().argmax(dim=1).tolist()) == list(range(8))


@given(cuts=st.lists(st.integers(0, 30), min_size=1, max_size=5), size=st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_a_sample_holds_different_points_of_the_stream(cuts: list[int], size: int):
    points = torch.arange(sum(cuts) + 1, dtype=torch.float32)[:, None]
    kept = draw_sample(points.split([*cuts, 1]), size, generator())[:, 0].tolist()
    assert len(kept) == len(set(kept)) == min(size, len(points))
    assert set(kept) <= set(points[:, 0].tolist())


def test_a_sample_is_uniform():
    points = torch.arange(10.0)[:, None]
    counts = torch.zeros(10)
    g = generator()
    for _ in range(600):
        counts[draw_sample(points.split(3), 5, g)[:, 0].long()] += 1
    assert ((counts - 300).abs() < 60).all()  # five standard deviations


def test_fewer_points_than_clusters():
    with pytest.raises(TrainingError, match="3 points for 4 clusters"):
        fit_kmeans(lambda: [torch.randn(3, 2)], 4, 1, generator())
    with pytest.raises(TrainingError, match="no points"):
        fit_kmeans(list, 4, 1, generator())


def test_equal_points_do_not_break_it():
    result = fit_kmeans(lambda: [torch.ones(50, 3)], 4, 2, generator())
    assert result.inertia == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(result.centroids).all()
