"""A linear probe: what of some targets can be read off features by one matrix.

Definition: the weights are those of ridge regression of 0 and 1 on the features and a constant. The
penalty is a share of each feature's own sum of squares, so that no scale counts. Of one-hot ids the
probe is, but for that share, the frequency of each target with each id.

Convention: batches of features (n, D) and targets (n, T). Of one batch after another nothing but
sums is kept.
"""

from collections.abc import Iterable

import numpy as np

PENALTY = 1e-3
"""Share of a feature's sum of squares that is added to it."""


class LinearProbe:
    """The weights of a probe.

    Args:
        batches: features (n, D) with their targets (n, T), at least one.

    Raises:
        ValueError: there is no batch.
    """

    def __init__(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        squares: np.ndarray | None = None
        products: np.ndarray | None = None
        for features, targets in batches:
            inputs = _with_constant(features)  # (n, D + 1)
            square = inputs.T @ inputs  # (D + 1, D + 1)
            product = inputs.T @ targets.astype(np.float64)  # (D + 1, T)
            squares = square if squares is None else squares + square
            products = product if products is None else products + product
        if squares is None or products is None:
            raise ValueError("a probe learns from at least one batch")
        penalty = PENALTY * squares.diagonal()
        penalty[-1] = 0.0  # the constant is free
        # Features that were never seen would leave the equations without a single solution.
        self.weights = np.linalg.solve(squares + np.diag(penalty + 1e-9), products)  # (D + 1, T)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Features (n, D) to scores (n, T): about 1 where a target is there, 0 where it is not."""
        scores: np.ndarray = _with_constant(features) @ self.weights
        return scores


def one_hot(ids: np.ndarray, count: int) -> np.ndarray:
    """Ids (n,) as rows (n, count) with a single one."""
    rows = np.zeros((len(ids), count))
    rows[np.arange(len(ids)), ids] = 1
    return rows


def _with_constant(features: np.ndarray) -> np.ndarray:
    return np.column_stack((features.astype(np.float64), np.ones(len(features))))
