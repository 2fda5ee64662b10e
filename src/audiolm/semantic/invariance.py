"""Directions of a feature space in which another voice or room moves little (a linear projection).

k-means takes every direction for as important as any other, and so spends clusters on what a layer
still knows of the voice. Here the same recording is heard as it is and perturbed; what then differs
at one and the same step is nuisance. Linear discriminant analysis (Fisher, 1936) keeps the
directions in which all steps differ most for every bit that a perturbation moves one. Once there
are clusters, what a perturbed step is away from the mean of its cluster counts as nuisance, too:
so differently do other speakers say the same.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Points = Float[Tensor, "n D"]
Moments = Float[Tensor, "D D"]


class Scatter:
    """Second moments of points, and of what is to be ignored in them, over a stream."""

    def __init__(self, width: int) -> None:
        self._count = 0
        self._sum = torch.zeros(width, dtype=torch.float64)
        self._points = torch.zeros(width, width, dtype=torch.float64)
        self._nuisance = torch.zeros(width, width, dtype=torch.float64)

    def update(self, points: Points, nuisance: Points) -> None:
        """Take more points (n, D) and the vectors (n, D) to be ignored, from any device."""
        points, nuisance = (x.detach().double().cpu() for x in (points, nuisance))
        self._count += len(points)
        self._sum += points.sum(dim=0)
        self._points += points.T @ points
        self._nuisance += nuisance.T @ nuisance

    def over_all(self, total: Callable[[Tensor], Tensor]) -> "Scatter":
        """The scatter of what all processes have taken; `total` adds a tensor up over them."""
        together = Scatter(len(self._sum))
        together._count = int(total(torch.tensor(self._count)))
        together._sum = total(self._sum.clone())
        together._points = total(self._points.clone())
        together._nuisance = total(self._nuisance.clone())
        return together

    @property
    def total(self) -> Moments:
        """Covariance (D, D) of the points."""
        mean = self._sum / max(self._count, 1)
        return self._points / max(self._count, 1) - torch.outer(mean, mean)

    @property
    def nuisance(self) -> Moments:
        """Second moments (D, D) of what is to be ignored: a shift common to all counts too."""
        return self._nuisance / max(self._count, 1)


def invariant_directions(
    total: Moments, nuisance: Moments, dims: int, shrinkage: float
) -> Float[Tensor, "D d"]:
    """The projection (D, dims) with the most spread of all points per spread of nuisance.

    Every direction is scaled so that nuisance moves all alike: the distance between two
    projected points counts each by how far it can be trusted. The whole has a mean variance of 1.

    Args:
        total: covariance of the points (D, D).
        nuisance: second moments of what is to be ignored (D, D).
        dims: how many directions to keep, at most D.
        shrinkage: how much of a round (D, D) matrix is mixed into `nuisance`: above 0, it keeps
            directions that were never moved from being trusted without limit.
    """
    width = len(total)
    mixed_in = max(
        shrinkage * float(nuisance.trace()) / width, 1e-9 * float(total.trace()) / width, 1e-12
    )
    within = nuisance.double() + mixed_in * torch.eye(width, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(within)  # (D,), (D, D)
    whitening = vectors / values.sqrt()  # (D, D)
    spread, rotation = torch.linalg.eigh(whitening.T @ total.double() @ whitening)  # ascending
    kept: Tensor = whitening @ rotation[:, -dims:].flip(1)  # (D, dims)
    kept = kept / spread[-dims:].mean().clamp(min=1e-12).sqrt()
    return kept.float()
