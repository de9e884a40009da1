import numpy as np
import pytest
from scipy.stats import kstest

from mva.statistics.lack_of_fit import _exceeds, lack_of_fit
from mva.statistics.noise import squared_distances

GRID = np.stack(np.meshgrid(*[np.linspace(0, 1, 5)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
DISTANCES = squared_distances(GRID)
NOISE = 0.04 * np.ones((25, 25)) + 0.02 * np.eye(25)


def noisy(truth, seed):
    return truth + np.random.default_rng(seed).multivariate_normal(np.zeros(25), NOISE)


def smooth(seed):
    """A plane that bends: what no test should call rough."""
    slope = np.random.default_rng([seed, 1]).normal(size=3)
    return GRID @ slope[:2] + slope[2] * GRID[:, 0] * GRID[:, 1]


def rejected(truth, *, n=200):
    return np.mean([lack_of_fit(noisy(truth(seed), seed), DISTANCES, NOISE) < 0.05 for seed in range(n)])


def test_weighted_chi_squares_of_equal_weights_are_a_chi_square():
    generator = np.random.default_rng(0)
    draws = 0.3 * (generator.standard_normal((2000, 7)) ** 2).sum(axis=1)
    assert kstest([_exceeds(draw, np.full(7, 0.3)) for draw in draws], "uniform").pvalue > 0.01


def test_weighted_chi_squares_exceed_as_often_as_is_said():
    weights = np.array([1.0, 0.5, 0.5, 0.2, 0.1, 0.05])
    draws = (weights * np.random.default_rng(1).standard_normal((20_000, 6)) ** 2).sum(axis=1)
    claimed = np.array([_exceeds(draw, weights) for draw in draws])
    for level in (0.01, 0.05, 0.2):
        assert np.mean(claimed < level) == pytest.approx(level, abs=4 * (level / 20_000) ** 0.5 + 0.1 * level)


def test_smooth_surfaces_are_rejected_about_as_often_as_the_level_says():
    # 200 surfaces at 5 %: the standard error of the share is 1.5 points.
    assert 0.01 <= rejected(smooth) <= 0.09


@pytest.mark.parametrize(
    "fallen",
    [GRID.sum(axis=1) > 1.4, (GRID == 1).all(axis=1), GRID.max(axis=1) > 0.8],
    ids=["cliff", "a corner", "an edge"],
)
def test_what_falls_off_is_seen(fallen):
    assert rejected(lambda seed: smooth(seed) - 1.5 * fallen, n=30) > 0.7


def test_scores_without_any_order_are_seen():
    assert rejected(lambda seed: 0.5 * np.random.default_rng([seed, 2]).standard_normal(25), n=30) > 0.9


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(scale):
    scores = noisy(smooth(0), 0)
    expected = lack_of_fit(scores, DISTANCES, NOISE)
    assert lack_of_fit(scale * scores + scale, DISTANCES, scale**2 * NOISE) == pytest.approx(expected, rel=1e-5)
