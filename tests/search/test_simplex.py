from math import comb

import pytest

from mva.extrapolation.space import CoefficientSpace
from mva.search.simplex import Simplex


def points(spec, space):
    return [candidate.vector(space.values) for candidate in spec.start(space, seed=0).ask()]


def test_two_values_give_the_segment():
    found = points(Simplex(resolution=4, include_corners=False), CoefficientSpace(("a", "b")))
    assert found == [(1.0, 0.0), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75), (0.0, 1.0)]


@pytest.mark.parametrize("n_values", [1, 2, 3, 5])
def test_the_lattice_is_complete_and_sums_to_one(n_values):
    found = points(Simplex(resolution=6, include_corners=False), CoefficientSpace(tuple("abcde"[:n_values])))
    assert len(set(found)) == len(found) == comb(6 + n_values - 1, n_values - 1)
    assert all(sum(point) == pytest.approx(1, abs=1e-5) and min(point) >= 0 for point in found)


def test_with_corners_only_the_base_is_new():
    space = CoefficientSpace(("a", "b"))
    extra = set(points(Simplex(4), space)) - set(points(Simplex(4, include_corners=False), space))
    assert extra == {(0.0, 0.0)}


def test_stays_in_the_box():
    found = points(Simplex(4, include_corners=False), CoefficientSpace(("a", "b"), minimum=0.2, maximum=0.8))
    assert found == [(0.75, 0.25), (0.5, 0.5), (0.25, 0.75)]


def test_refuses_a_box_without_convex_combinations():
    with pytest.raises(ValueError, match="No convex combination lies in the box"):
        Simplex(4).start(CoefficientSpace(("a", "b"), maximum=0.3), seed=0)


def test_refuses_a_lattice_without_steps():
    with pytest.raises(ValueError, match=r"^resolution is 0"):
        Simplex(resolution=0)
