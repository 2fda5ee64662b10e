"""k-means one point at a time: what the vectorised, streamed one must agree with."""

import numpy as np


def nearest_by_hand(points: np.ndarray, centroids: np.ndarray) -> tuple[list[int], list[float]]:
    """Id and squared distance of the centroid nearest to each point, by comparing them all."""
    ids, distances = [], []
    for point in points.astype(np.float64):
        apart = [float(((point - centroid) ** 2).sum()) for centroid in centroids]
        ids.append(int(np.argmin(apart)))
        distances.append(min(apart))
    return ids, distances


def lloyd_by_hand(points: np.ndarray, centroids: np.ndarray, passes: int) -> np.ndarray:
    """Centroids after some passes; one without points stays where it is."""
    centroids = centroids.astype(np.float64).copy()
    for _ in range(passes):
        ids, _ = nearest_by_hand(points, centroids)
        for k in range(len(centroids)):
            mine = [point for point, chosen in zip(points, ids, strict=True) if chosen == k]
            if mine:
                centroids[k] = np.mean(mine, axis=0)
    return centroids
