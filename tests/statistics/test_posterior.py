from functools import partial

import numpy as np
import pytest

from mva.pareto.hypervolume import hypervolume
from mva.statistics.noise import prompt_noise, squared_distances
from mva.statistics.posterior import ScorePosterior

HYPERVOLUME = partial(hypervolume, reference_point=[-1.0, -1.0])
GRID = np.stack(np.meshgrid(*[np.linspace(0, 1, 5)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)


def gaussian(seed, shape, *, sd=1.0):
    return np.random.default_rng(seed).normal(scale=sd, size=shape)


def truth():
    return np.sqrt(GRID) - 0.4 * GRID[:, ::-1]


def rewards(seed, n_prompts=24, *, own=0.8):
    return truth()[:, None] + gaussian([seed, 0], (1, n_prompts, 2)) + gaussian([seed, 1], (25, n_prompts, 2), sd=own)


def test_the_noise_of_prompts_is_split_into_its_parts():
    distances = squared_distances(GRID)
    alike = np.linalg.cholesky(np.exp(-distances / (2 * 0.5**2)) + 1e-9 * np.eye(25))
    noise = gaussian(0, (1, 4000, 1), sd=1.0) + np.einsum("ij,jpk->ipk", alike, gaussian(1, (25, 4000, 1), sd=0.5))
    parts = prompt_noise(noise + gaussian(2, (25, 4000, 1), sd=0.7), distances)
    assert 4000 * parts.variances[:, 0] == pytest.approx([1.0, 0.25, 0.49], abs=0.06)


def test_the_joint_covariance_is_that_of_the_values_with_their_correlation():
    mixed = gaussian(0, (25, 3000, 2)) @ np.linalg.cholesky(np.array([[1.0, -0.6], [-0.6, 1.0]])).T
    noise = prompt_noise(mixed, squared_distances(GRID))
    joint = noise.joint()
    assert joint[0, 0] == pytest.approx(noise.of_value(0)[0, 0])
    assert joint[0, 1] / np.sqrt(joint[0, 0] * joint[1, 1]) == pytest.approx(-0.6, abs=0.03)
    assert np.linalg.eigvalsh(joint).min() > 0


def test_a_statistic_of_one_candidate_without_noise_of_its_own_is_its_mean_with_its_prompts_effects():
    run = rewards(0, own=1e-3)
    estimate = ScorePosterior.of(GRID, run).estimate(lambda scores: float(scores[3, 0]))
    assert estimate.value == pytest.approx(run[3, :, 0].mean(), abs=0.01)
    np.testing.assert_allclose(estimate.effects, run[3, :, 0] - run[3, :, 0].mean(), atol=0.02)


def test_effects_are_the_change_that_a_prompt_of_more_weight_makes():
    run, step = rewards(1), 1e-3
    before = ScorePosterior.of(GRID, run)
    # Give prompt 5 a little more weight in every mean; noise and surface stay as they are.
    shifted = before.draws + step * _response_to(run, prompt=5, posterior=before)
    change = np.mean([HYPERVOLUME(scores) for scores in shifted]) - np.mean([HYPERVOLUME(s) for s in before.draws])
    assert before.estimate(HYPERVOLUME).effects[5] == pytest.approx(change / step, rel=0.1)


def _response_to(run, *, prompt, posterior):
    """By how much the posterior mean moves: Cov(S) Sigma^-1 residual, from the draws."""
    deviations = posterior.draws - posterior.draws.mean(axis=0)
    return np.tensordot(posterior.leverage[prompt], deviations, axes=1) / len(deviations)


def test_true_scores_are_nearer_to_the_truth_than_raw_means():
    raw, smooth = [], []
    for seed in range(20):
        posterior = ScorePosterior.of(GRID, rewards(seed))
        centred = truth() - truth().mean(axis=0)
        for errors, scores in ((raw, posterior.scores), (smooth, posterior.draws.mean(axis=0))):
            errors.append(((scores - scores.mean(axis=0) - centred) ** 2).mean())
    assert np.mean(smooth) < 0.5 * np.mean(raw)


def test_the_estimate_does_not_take_the_best_of_noise():
    bias, raw = [], []
    for seed in range(40):
        run = rewards(seed)
        # The prompts' part that all candidates share moves the front as a whole: it is known here, and taken off.
        posterior = ScorePosterior.of(GRID, run - gaussian([seed, 0], (1, 24, 2)).mean(axis=1, keepdims=True))
        bias.append(posterior.estimate(HYPERVOLUME).value - HYPERVOLUME(truth()))
        raw.append(HYPERVOLUME(posterior.scores) - HYPERVOLUME(truth()))
    assert np.mean(raw) > 0.25
    assert abs(np.mean(bias)) < 0.08


def test_a_cliff_is_not_smoothed_away():
    cliff = np.where(GRID.sum(axis=1, keepdims=True) > 1.5, -3.0, 1.0) * np.ones(2)
    run = cliff[:, None] + gaussian(0, (25, 24, 2), sd=0.3)
    error = ScorePosterior.of(GRID, run).draws.mean(axis=0) - cliff
    assert np.abs(error).max() < 0.35


def test_the_same_seed_gives_the_same_draws():
    first, again, other = (ScorePosterior.of(GRID, rewards(0), seed=seed).draws for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_units_of_rewards_do_not_matter(scale):
    run = rewards(2)
    small, plain = ScorePosterior.of(GRID, scale * run), ScorePosterior.of(GRID, run)
    np.testing.assert_allclose(small.draws.mean(axis=0), scale * plain.draws.mean(axis=0), rtol=1e-6, atol=scale * 1e-7)
    np.testing.assert_allclose(small.leverage.std(), plain.leverage.std(), rtol=1e-4)


@pytest.mark.parametrize(
    "run",
    [
        np.zeros((25, 12, 2)),
        np.ones((25, 2, 2)) * [[[1.0, 2.0]]],
        np.broadcast_to(truth()[:, None], (25, 12, 2)),
        rewards(0)[:1],
        np.repeat(rewards(0)[:, :, :1], 2, axis=2),
        np.full((2, 12, 2), 0.4),
        1e4 * gaussian(0, (1, 12, 2)) + 1e-3 * gaussian(1, (25, 12, 2)),
        np.where(np.arange(25)[:, None, None] == 3, 1.0, 1e-9) * gaussian(2, (25, 12, 2)),
        np.concatenate([rewards(0), rewards(0)]),
    ],
    ids=[
        "all zero",
        "constant",
        "no noise",
        "one candidate",
        "two values alike",
        "rounded",
        "hardly own noise",
        "one loud candidate",
        "every candidate twice",
    ],
)
def test_degenerate_rewards_give_finite_numbers(run):
    places = np.resize(GRID, (len(run), 2))
    estimate = ScorePosterior.of(places, run).estimate(HYPERVOLUME)
    assert np.isfinite([estimate.value, *estimate.effects, estimate.excess]).all()
    if np.ptp(run, axis=1).max() == 0:
        assert estimate.value == pytest.approx(HYPERVOLUME(run.mean(axis=1)), abs=1e-2)


def test_rewards_that_are_none_are_refused():
    with pytest.raises(ValueError, match="n_candidates, n_prompts, n_values"):
        ScorePosterior.of(GRID, np.zeros((25, 1, 2)))
    with pytest.raises(ValueError, match="NaN or infinite"):
        ScorePosterior.of(GRID, np.full((25, 4, 2), np.nan))
    with pytest.raises(ValueError, match="coordinates of the shape"):
        ScorePosterior.of(GRID[:3], rewards(0))
