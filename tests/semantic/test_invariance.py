"""The projection: what perturbation moves goes, what tells steps apart stays."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.semantic.invariance import Scatter, invariant_directions


def pairs(count: int = 4000, width: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points whose first dimensions say most, perturbed along the last ones."""
    g = torch.Generator().manual_seed(seed)
    clean = torch.randn(count, width, generator=g) * torch.linspace(3, 1, width) + 5
    moved = torch.randn(count, width, generator=g) * torch.linspace(0.1, 2, width)
    return clean, clean + moved


def scatter_of(clean: torch.Tensor, perturbed: torch.Tensor, pieces: int = 1) -> Scatter:
    scatter = Scatter(clean.shape[1])
    moved = perturbed - clean
    for pair in zip(clean.chunk(pieces), moved.chunk(pieces), strict=True):
        scatter.update(*pair)
    return scatter


def test_scatter_of_a_stream_is_that_of_all_points_at_once() -> None:
    clean, perturbed = pairs(101)
    scatter = scatter_of(clean, perturbed, pieces=7)
    assert np.allclose(scatter.total, np.cov(clean.double().T, bias=True), atol=1e-5)
    apart = (perturbed - clean).double().numpy()
    assert np.allclose(scatter.nuisance, sum(np.outer(d, d) for d in apart) / 101, atol=1e-6)


def test_directions_are_those_of_the_generalised_eigenvalue_problem() -> None:
    scatter = scatter_of(*pairs())
    found = invariant_directions(scatter.total, scatter.nuisance, 3, shrinkage=0.2).double()
    within = scatter.nuisance + 0.2 * torch.eye(6) * scatter.nuisance.trace() / 6
    _, vectors = scipy.linalg.eigh(scatter.total.numpy(), within.numpy())
    for column, expected in zip(found.T, vectors[:, ::-1].T, strict=False):
        cosine = float(column @ torch.from_numpy(expected.copy())) / (
            float(column.norm()) * float(np.linalg.norm(expected))
        )
        assert abs(cosine) == pytest.approx(1, abs=1e-5)


def test_perturbation_moves_all_directions_alike_and_the_variance_is_one() -> None:
    clean, perturbed = pairs()
    scatter = scatter_of(clean, perturbed)
    found = invariant_directions(scatter.total, scatter.nuisance, 4, shrinkage=0.0)
    moved = ((perturbed - clean) @ found).T.cov(correction=0)
    assert torch.allclose(moved, torch.eye(4) * moved.trace() / 4, atol=0.02 * float(moved.trace()))
    assert float((clean @ found).var(dim=0).mean()) == pytest.approx(1, rel=1e-3)
    spread = (clean @ found).var(dim=0)
    assert spread.tolist() == sorted(spread.tolist(), reverse=True)  # the best comes first


def test_a_direction_that_perturbation_fills_is_left_out() -> None:
    g = torch.Generator().manual_seed(1)
    clean = torch.randn(3000, 5, generator=g)
    axis = torch.tensor([1.0, 2.0, 0.0, -1.0, 0.5])
    perturbed = clean + torch.randn(3000, 1, generator=g) * 3 * axis
    scatter = scatter_of(clean, perturbed)
    found = invariant_directions(scatter.total, scatter.nuisance, 4, shrinkage=0.01)
    kept = (axis @ found).norm() / (axis.norm() * found.norm())
    assert float(kept) < 0.02


@given(width=st.integers(1, 12), share=st.floats(0, 1), data=st.data())
@settings(max_examples=25, deadline=None)
def test_shapes_and_finite_numbers_even_where_nothing_moves(width, share, data) -> None:
    dims = data.draw(st.integers(1, width))
    clean, perturbed = pairs(20, width)
    scatter = scatter_of(clean, clean if data.draw(st.booleans()) else perturbed)
    found = invariant_directions(scatter.total, scatter.nuisance, dims, share)
    assert found.shape == (width, dims)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
