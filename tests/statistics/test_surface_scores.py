import numpy as np
import pytest

from mva.statistics.surface_scores import FEWEST, MOST, surface_scores

GRID = np.stack(np.meshgrid(*[np.linspace(0, 1, 5)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)


def truth(points):
    return np.sqrt(points) - 0.4 * points[:, ::-1]


def rewards(points, true, seed, *, n_prompts=24, own=0.8):
    generator = np.random.default_rng(seed)
    shared = generator.standard_normal((1, n_prompts, true.shape[1]))
    return true[:, None] + shared + own * generator.standard_normal((len(points), n_prompts, true.shape[1]))


def error(scores, true):
    return (scores - true).var(axis=0).mean()


def test_scores_off_the_surface_are_nearer_to_the_truth_and_say_how_much():
    raw, read_off, worth = [], [], []
    for seed in range(20):
        run = rewards(GRID, truth(GRID), seed)
        scores = surface_scores(GRID, run)
        raw.append(error(run.mean(axis=1), truth(GRID)))
        read_off.append(error(scores.means, truth(GRID)))
        worth.append(scores.worth.mean())
    measured = np.mean(raw) / np.mean(read_off)
    assert measured > 2
    assert np.median(worth) == pytest.approx(measured, rel=0.6)


def test_half_bands_cover_the_true_scores():
    inside = []
    for seed in range(40):
        scores = surface_scores(GRID, rewards(GRID, truth(GRID), seed))
        inside.append(np.abs(scores.means - truth(GRID)) <= 2.07 * scores.errors)
    # Scores of a run share their prompts, so that 40 runs with 2 values are about 80 numbers.
    assert 0.85 <= np.mean(inside) <= 1


def test_rewards_without_noise_stay_what_they_are():
    exact = np.broadcast_to(truth(GRID)[:, None], (25, 12, 2))
    scores = surface_scores(GRID, exact)
    np.testing.assert_allclose(scores.means, truth(GRID), atol=1e-3)
    assert scores.errors.max() < 1e-3


def test_a_value_on_a_cliff_is_switched_off_and_the_other_stays():
    fallen = truth(GRID)
    fallen[GRID.sum(axis=1) > 1.4, 1] -= 3.0
    scores = surface_scores(GRID, rewards(GRID, fallen, 3))
    assert scores.fits.tolist() == [True, False]


def test_the_simplex_and_many_values_have_surfaces_too():
    steps = np.arange(5)
    triples = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    simplex = triples[triples.sum(axis=1) == 4] / 4
    box = np.random.default_rng(0).uniform(size=(40, 5))
    for points in (simplex, box):
        raw, read_off = [], []
        for seed in range(10):
            run = rewards(points, points @ np.eye(points.shape[1]), seed)
            raw.append(error(run.mean(axis=1), points))
            read_off.append(error(surface_scores(points, run).means, points))
        assert np.mean(read_off) < 0.6 * np.mean(raw)


@pytest.mark.parametrize(
    "points",
    [GRID[: FEWEST - 1], np.eye(8), np.vstack([np.zeros(8), np.eye(8)]), np.zeros((MOST + 1, 2))],
    ids=["few", "a vector each", "a vector each, and the base", "too many"],
)
def test_where_there_is_nothing_to_read_off_scores_stay_raw(points):
    assert surface_scores(points, np.zeros((len(points), 12, 2))) is None


def test_the_order_of_candidates_does_not_matter():
    run = rewards(GRID, truth(GRID), 0)
    order = np.random.default_rng(1).permutation(25)
    scores, moved = surface_scores(GRID, run), surface_scores(GRID[order], run[order])
    np.testing.assert_allclose(moved.means, scores.means[order], atol=1e-8)
    np.testing.assert_allclose(moved.p_values, scores.p_values, rtol=1e-5)
