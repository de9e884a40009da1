import numpy as np
import pytest
from scipy.stats import t

from mva.statistics.estimate import (
    Estimate,
    Variance,
    combined,
    interval,
    mean_estimate,
    mean_intervals,
    variance_of,
)


def gaussian(seed, shape, *, sd=1.0):
    return np.random.default_rng(seed).normal(scale=sd, size=shape)


def test_the_interval_of_a_mean_is_students():
    samples = gaussian(0, 12)
    bounds = interval([mean_estimate(samples)])
    half = t.isf(0.025, 11) * samples.std(ddof=1) / 12**0.5
    assert (bounds.estimate, bounds.low, bounds.high) == pytest.approx(
        (samples.mean(), samples.mean() - half, samples.mean() + half)
    )
    assert (bounds.n_prompts, bounds.n_seeds) == (12, 1)


def test_the_interval_over_seeds_that_differ_alone_is_students_over_seeds():
    levels = gaussian(1, 8)
    bounds = interval([mean_estimate(np.full(20, level)) for level in levels])
    half = t.isf(0.025, 7) * levels.std(ddof=1) / 8**0.5
    assert bounds.high - bounds.low == pytest.approx(2 * half)


def test_the_two_sources_are_found_where_both_are_there():
    # Truth of the mean over 4 seeds and 50 prompts: prompts 1 / 50, interaction 0.25 / 200, seeds 0.09 / 4.
    parts = []
    for trial in range(400):
        prompts, seeds = gaussian([trial, 0], 50), gaussian([trial, 1], 4, sd=0.3)
        rewards = prompts + seeds[:, None] + gaussian([trial, 2], (4, 50), sd=0.5)
        variance = variance_of([mean_estimate(row) for row in rewards])
        parts.append((variance.prompts, variance.interaction, variance.seeds))
    assert np.mean(parts, axis=0) == pytest.approx([1 / 50, 0.25 / 200, 0.09 / 4], rel=0.1)


@pytest.mark.parametrize(("n_prompts", "n_seeds", "sd"), [(12, 1, 0.0), (30, 3, 0.0), (30, 3, 0.5), (12, 5, 0.2)])
def test_intervals_of_a_crossed_mean_cover_it_as_often_as_they_say(n_prompts, n_seeds, sd):
    covered = 0
    for trial in range(500):
        prompts, seeds = gaussian([trial, 0], n_prompts), gaussian([trial, 1], n_seeds, sd=sd)
        rewards = prompts + seeds[:, None] + gaussian([trial, 2], (n_seeds, n_prompts), sd=0.5)
        bounds = interval([mean_estimate(row) for row in rewards])
        covered += bounds.low <= 0 <= bounds.high
    assert 0.92 <= covered / 500 <= 0.985  # 500 trials at 0.95: standard deviation 0.01


def test_what_more_prompts_and_seeds_bring_is_read_off_the_sources():
    variance = Variance(prompts=0.04, interaction=0.01, seeds=0.02, df=10, n_prompts=20, n_seeds=3)
    assert variance.projected(20, 3).total == pytest.approx(variance.total)
    assert variance.projected(40, 3).total == pytest.approx(0.02 + 0.005 + 0.02)
    assert variance.projected(20, 6).total == pytest.approx(0.04 + 0.005 + 0.01)


def test_the_projected_degrees_of_freedom_are_those_that_a_measurement_would_have():
    rewards = gaussian(0, (1, 30)) + gaussian(1, (4, 1), sd=0.3) + gaussian(2, (4, 30), sd=0.5)
    variance = variance_of([mean_estimate(row) for row in rewards])
    assert variance.seeds > 0
    assert variance.projected(30, 4).df == pytest.approx(variance.df)
    assert variance.projected(300, 4).df < variance.df, "with many prompts the few seeds are all that is uncertain"
    assert variance.projected(60, 1).df == 59


def test_a_variance_pooled_over_a_table_keeps_its_degrees_of_freedom_for_each_seed():
    pooled = combined(0.01, 0.004, 0.02, n_prompts=24, n_seeds=3, df_seeds=9.0)
    assert pooled.df_per_seed == 4.5
    assert pooled.projected(24, 3).df == pytest.approx(pooled.df)


def test_a_difference_on_the_same_prompts_loses_what_prompts_do_to_both():
    prompts = gaussian(0, 30)
    difference = mean_estimate(prompts + 0.5) - mean_estimate(prompts)
    assert difference.value == pytest.approx(0.5)
    assert np.abs(difference.effects).max() < 1e-12


def test_a_sum_is_a_difference_from_the_negative():
    first, second = mean_estimate(gaussian(0, 9)), mean_estimate(gaussian(1, 9))
    both = first + second
    assert both.value == pytest.approx(first.value + second.value)
    np.testing.assert_allclose(both.effects, first.effects + second.effects)


def test_bounds_stay_in_the_possible_range():
    bounds = interval([Estimate(0.1, gaussian(0, 10, sd=3), 0.2)], at_least=0.0)
    assert bounds.low == 0
    assert bounds.high > 0.1
    assert bounds.raw == 0.2


def test_a_runs_own_number_knows_the_surfaces_uncertainty_and_a_difference_does_not():
    sure, unsure = Estimate(1.0, gaussian(0, 10), 1.0), Estimate(1.0, gaussian(0, 10), 1.0, excess=4.0)
    assert interval([unsure]).variance.total == pytest.approx(interval([sure]).variance.total + 4)
    assert interval([unsure - sure]).variance.total == pytest.approx(0, abs=1e-12)


def test_means_are_bounded_each_by_students_t():
    rewards = gaussian(0, (3, 15, 2))
    low, high = mean_intervals(rewards)
    bounds = interval([mean_estimate(rewards[1, :, 0])])
    assert (low[1, 0], high[1, 0]) == pytest.approx((bounds.low, bounds.high))


def test_estimates_of_other_prompts_are_refused():
    with pytest.raises(ValueError, match="9 and 10 prompts"):
        mean_estimate(np.ones(9)) - mean_estimate(np.ones(10))
    with pytest.raises(ValueError, match="same prompts"):
        interval([mean_estimate(np.ones(9)), mean_estimate(np.ones(10))])
    with pytest.raises(ValueError, match="none"):
        interval([])
