import pytest

from mva.extrapolation.space import CoefficientSpace
from mva.search.grid import Grid


def points(spec, space):
    return [candidate.vector(space.values) for candidate in spec.start(space, seed=0).ask()]


def test_ten_levels_of_the_unit_box_are_the_papers_hundred_candidates():
    found = points(Grid(levels=10, include_corners=False), CoefficientSpace(("a", "b")))
    tenths = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert found == [(x, y) for x in tenths for y in tenths]


def test_levels_run_from_above_the_minimum_to_the_maximum_of_each_value():
    space = CoefficientSpace(("a", "b"), minimum={"a": -1.0, "b": 0.0}, maximum={"a": 1.0, "b": 3.0})
    found = points(Grid(levels=2, include_corners=False), space)
    assert found == [(0.0, 1.5), (0.0, 3.0), (1.0, 1.5), (1.0, 3.0)]


def test_the_level_zero_can_be_added():
    found = points(Grid(levels=2, include_zero=True, include_corners=False), CoefficientSpace(("a",)))
    assert found == [(0.0,), (0.5,), (1.0,)]


def test_a_zero_that_is_already_there_or_outside_of_the_box_is_not_added():
    through_zero, above_zero = CoefficientSpace(("a",), minimum=-1.0), CoefficientSpace(("a",), minimum=0.5)
    spec = Grid(levels=2, include_zero=True, include_corners=False)
    assert points(spec, through_zero) == [(0.0,), (1.0,)]
    assert points(spec, above_zero) == [(0.75,), (1.0,)]


@pytest.mark.parametrize(("n_values", "n_candidates"), [(1, 4), (2, 19), (3, 68), (5, 1030)])
def test_with_corners_it_has_the_power_of_the_levels_and_the_base_and_the_missing_one_hot_ones(n_values, n_candidates):
    space = CoefficientSpace(tuple("abcde"[:n_values]))
    # 4^n, plus the base, plus the n one-hot ones unless n is 1 (where the grid holds it).
    assert len(points(Grid(levels=4), space)) == n_candidates + (n_values == 1)


def test_refuses_a_grid_without_levels():
    with pytest.raises(ValueError, match=r"^levels is 0"):
        Grid(levels=0)


def test_refuses_a_grid_that_nobody_could_evaluate():
    with pytest.raises(ValueError, match=r"10 levels for 6 values has 1000000 candidates.*search=adaptive"):
        Grid(levels=10).start(CoefficientSpace(tuple("abcdef")), seed=0)
