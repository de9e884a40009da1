import numpy as np
import pytest
from search_strategies import dense, found, oracle, volume
from simulated_tables import true_scores, world

from mva.search.adaptive import Adaptive
from mva.search.sobol import Sobol


@pytest.fixture(scope="module")
def box():
    return dense(world(0, 2), 2)


def test_the_whole_box_has_all_of_its_hypervolume(box):
    assert volume(box, box) == pytest.approx(1.0)
    assert volume(box[:1], box) < 0.5


def test_the_truth_s_own_choice_is_better_than_points_that_fill_the_box(box):
    even = found(Sobol(n=9), world(0, 2), 2, noise=0.0, seed=0)
    assert len(even) == 12
    assert volume(oracle(box, 12), box) > volume(even, box)


def test_what_is_counted_is_true_whatever_noise_the_search_saw():
    scores = found(Adaptive(budget=8), world(0, 2), 2, noise=1.0, seed=0)
    assert scores.shape == (8, 2)
    anchors = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=float)
    np.testing.assert_allclose(scores[:4], true_scores(world(0, 2), anchors))
