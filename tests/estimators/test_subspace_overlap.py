import pytest
import torch
from scipy.linalg import subspace_angles

from mva.estimators.subspace_overlap import SubspaceOverlap


def rows(modules, rank, d, *, seed):
    return torch.randn(modules, rank, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_is_the_mean_squared_cosine_of_the_principal_angles():
    x, y = rows(3, 4, 12, seed=0), rows(3, 2, 12, seed=1)
    expected = [
        float((torch.tensor(subspace_angles(a.T.numpy(), b.T.numpy())).cos() ** 2).mean())
        for a, b in zip(x, y, strict=True)
    ]
    assert SubspaceOverlap()(x, y).tolist() == pytest.approx(expected)


def test_random_subspaces_overlap_by_rank_over_dimension():
    x, y = rows(2000, 4, 20, seed=0), rows(2000, 4, 20, seed=1)
    assert SubspaceOverlap()(x, y).mean().item() == pytest.approx(4 / 20, rel=0.03)


def test_equal_nested_and_disjoint_spaces():
    frame = torch.linalg.qr(rows(1, 10, 10, seed=0)).Q
    assert SubspaceOverlap()(frame[:, :3], 2 * frame[:, :3]).item() == pytest.approx(1)
    assert SubspaceOverlap()(frame[:, :3], frame[:, :5]).item() == pytest.approx(1)
    assert SubspaceOverlap()(frame[:, :3], frame[:, 3:]).item() == pytest.approx(0, abs=1e-12)


def test_rows_that_repeat_each_other_span_one_direction():
    x = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]], dtype=torch.float64)
    y = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], dtype=torch.float64)
    assert SubspaceOverlap()(x, y).item() == pytest.approx(0.5)


def test_factors_that_are_zero_overlap_with_nothing_and_have_a_finite_gradient():
    x = torch.zeros(1, 3, 6, requires_grad=True)
    overlap = SubspaceOverlap()(x, torch.randn(1, 3, 6))
    overlap.sum().backward()
    assert overlap.item() == 0
    assert torch.isfinite(x.grad).all()
