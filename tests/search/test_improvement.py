import numpy as np
import pytest

from mva.pareto.hypervolume import hypervolume
from mva.search.improvement import directions, most_promising, reach


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_average_reach_is_the_hypervolume(k):
    """Two fronts' volumes are in the ratio of their mean best reaches: the constant c_k drops out."""
    generator = np.random.default_rng(k)
    along = directions(200_000, k, generator)
    first, second = generator.random((6, k)), generator.random((3, k))
    reference = np.full(k, -0.2)
    by_direction = [reach(front, reference, along).max(axis=0).mean() for front in (first, second)]
    volumes = [hypervolume(front, reference) for front in (first, second)]
    assert by_direction[0] / by_direction[1] == pytest.approx(volumes[0] / volumes[1], rel=0.03)


def test_points_of_a_batch_do_not_crowd():
    evaluated = np.array([[[0.0, 0.0]]])
    twins_and_another = np.array([[[1.0, 0.5], [1.0, 0.5], [0.4, 0.9], [0.1, 0.1]]])
    along = directions(512, 2, np.random.default_rng(0))
    assert most_promising(evaluated, twins_and_another, np.array([-0.1, -0.1]), along, count=2) == [0, 2]


def test_what_is_dominated_in_every_draw_promises_nothing():
    evaluated = np.ones((4, 1, 2))
    behind = np.full((4, 2, 2), 0.5)
    behind[:, 1] = [0.2, 1.5]
    along = directions(64, 2, np.random.default_rng(0))
    assert most_promising(evaluated, behind, np.zeros(2), along, count=1) == [1]
