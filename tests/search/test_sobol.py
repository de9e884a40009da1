import numpy as np
import pytest

from mva.extrapolation.space import CoefficientSpace
from mva.search.sobol import Sobol

SPACE = CoefficientSpace(("a", "b"), minimum={"a": -1.0, "b": 0.0}, maximum={"a": 1.0, "b": 4.0})


def points(spec, *, seed=0, space=SPACE):
    return np.array([candidate.vector(space.values) for candidate in spec.start(space, seed=seed).ask()])


def test_every_quarter_of_every_axis_gets_as_many_points():
    found = points(Sobol(n=32, include_corners=False))
    for axis, (low, high) in enumerate([(-1, 1), (0, 4)]):
        counts, _ = np.histogram(found[:, axis], bins=4, range=(low, high))
        assert counts.tolist() == [8, 8, 8, 8]


@pytest.mark.parametrize("n", [1, 2, 5, 24, 100])
def test_gives_as_many_points_as_asked_for_in_the_box(n):
    found = points(Sobol(n=n, include_corners=False))
    assert len(found) == n
    assert (found >= [-1, 0]).all()
    assert (found <= [1, 4]).all()


def test_the_seed_decides():
    first, again, other = (points(Sobol(8), seed=seed).tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_corners_come_first():
    assert points(Sobol(4)).tolist()[:3] == [[0, 0], [1, 0], [0, 1]]


def test_refuses_an_empty_sequence():
    with pytest.raises(ValueError, match=r"^n is 0"):
        Sobol(n=0)
