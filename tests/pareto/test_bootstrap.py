from functools import partial

import numpy as np
import pytest
from scipy.stats import t

from mva.pareto.bootstrap import Bootstrap
from mva.pareto.dominance import non_dominated
from mva.pareto.hypervolume import hypervolume

HYPERVOLUME = partial(hypervolume, reference_point=[-4.0, -4.0])


def first_score(scores):
    return scores[0, 0]


def gaussian(seed, shape, *, sd=1.0):
    return np.random.default_rng(seed).normal(scale=sd, size=shape)


def fronts(seed, n_prompts, *, n_candidates=10, lift=0.0):
    """Candidates on a quarter of a circle; half of the noise is the prompts', common to all candidates."""
    angle = np.linspace(0, np.pi / 2, n_candidates)
    truth = np.stack([np.cos(angle), np.sin(angle)], axis=1) + lift
    noise = gaussian([seed, 0], (1, n_prompts, 2), sd=0.5) + gaussian([seed, 1], (n_candidates, n_prompts, 2), sd=0.5)
    return truth, truth[:, None] + noise


@pytest.mark.parametrize("n_prompts", [10, 40])
def test_the_interval_of_a_mean_is_students(n_prompts):
    rewards = gaussian(0, (1, n_prompts, 1))
    interval = Bootstrap(draws=20_000).interval([rewards], first_score)
    half = t.isf(0.025, n_prompts - 1) * rewards.std(ddof=1) / n_prompts**0.5
    assert interval.estimate == pytest.approx(rewards.mean())
    assert interval.low == pytest.approx(rewards.mean() - half, abs=0.06 * half)
    assert interval.high == pytest.approx(rewards.mean() + half, abs=0.06 * half)
    assert interval.bias == pytest.approx(0, abs=0.03 * half)
    assert (interval.n_prompts, interval.n_seeds) == (n_prompts, 1)


def test_the_interval_over_seeds_that_differ_is_students_too():
    levels = gaussian(1, 8)
    runs = [np.full((1, 20, 1), level) for level in levels]
    interval = Bootstrap(draws=20_000).interval(runs, first_score)
    half = t.isf(0.025, 7) * levels.std(ddof=1) / 8**0.5
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
    assert interval.n_seeds == 8


@pytest.mark.parametrize(
    ("n_prompts", "n_seeds", "sd_of_seeds"), [(10, 1, 0.0), (30, 1, 0.0), (30, 3, 0.0), (30, 3, 0.5)]
)
def test_intervals_of_a_gaussian_mean_cover_it_as_often_as_they_say(n_prompts, n_seeds, sd_of_seeds):
    covered = 0
    for trial in range(300):
        prompts, seeds = gaussian([trial, 0], (1, n_prompts, 1)), gaussian([trial, 1], n_seeds, sd=sd_of_seeds)
        runs = [prompts + seed + gaussian([trial, 2, i], prompts.shape, sd=0.5) for i, seed in enumerate(seeds)]
        interval = Bootstrap(draws=300).interval(runs, first_score)
        covered += interval.low <= 0 <= interval.high
    assert 0.91 <= covered / 300 <= 0.99  # 300 trials at 0.95: standard deviation 0.013


def test_intervals_of_a_hypervolume_cover_the_truth_though_the_estimate_flatters_itself():
    covered, bias, error = 0, 0.0, 0.0
    for trial in range(80):
        truth, rewards = fronts(trial, 30)
        interval = Bootstrap(draws=200).interval([rewards], HYPERVOLUME)
        covered += interval.low <= HYPERVOLUME(truth) <= interval.high
        bias += interval.bias / 80
        error += (interval.estimate - HYPERVOLUME(truth)) / 80
    assert covered >= 0.88 * 80
    assert error > 0.3, "noise lifts the hypervolume of a front"
    assert 0.4 * error < bias < error, "of which replicates show a share between sqrt(2) - 1 and 1"


def test_the_bias_of_a_square_is_the_variance_of_the_mean():
    rewards = gaussian(6, (1, 25, 1))
    interval = Bootstrap(draws=20_000).interval([rewards], lambda scores: scores[0, 0] ** 2)
    assert interval.bias == pytest.approx(rewards.var() / 25, rel=0.1)


def test_a_wider_level_gives_a_wider_interval_and_the_seed_decides_the_draws():
    rewards = fronts(0, 20)[1]
    narrow, wide = (Bootstrap(level=level).interval([rewards], HYPERVOLUME) for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    first, again, other = (Bootstrap(draws=50, seed=s).interval([rewards], HYPERVOLUME) for s in (0, 0, 1))
    assert first == again != other


def test_between_identical_methods_no_difference_is_seen():
    runs = [fronts(seed, 40)[1] for seed in range(3)]
    difference = Bootstrap(draws=100).difference(runs, runs, HYPERVOLUME)
    assert difference.interval.estimate == difference.interval.bias == 0
    assert difference.interval.low == -difference.interval.high < 0
    assert difference.verdict == "no difference seen"


def test_pairing_sees_a_small_difference_that_separate_intervals_hide():
    worse = gaussian(0, (3, 30, 2), sd=5.0)
    better = worse + 0.2 + gaussian(1, worse.shape, sd=0.1)
    bootstrap = Bootstrap(draws=300)
    alone = [bootstrap.interval([run], first_score) for run in (better, worse)]
    assert alone[0].low < alone[1].high
    difference = bootstrap.difference([better], [worse], first_score)
    assert difference.verdict == "real"
    assert difference.interval.low < 0.2 < difference.interval.high
    assert bootstrap.difference([worse], [better], first_score).interval.high < 0


def test_a_difference_that_is_the_same_on_every_prompt_is_known_sharply():
    worse = gaussian(7, (1, 20, 1), sd=10.0)
    difference = Bootstrap(draws=20_000).difference([worse + 0.5], [worse], first_score)
    # No more than what two means of 20,000 replicates leave open of their bias, which is none.
    assert (difference.interval.low, difference.interval.high) == pytest.approx((0.5, 0.5), abs=0.1)
    assert difference.interval.low <= 0.5 <= difference.interval.high
    assert difference.verdict == "real"


def test_a_contrast_adds_methods_up_and_takes_others_off_on_the_same_prompts():
    prompts = gaussian(8, (1, 20, 1), sd=10.0)
    a, b, c, d = ([prompts + level] for level in (3.0, 1.0, 1.5, 0.2))
    interaction = Bootstrap(draws=20_000).contrast([a, d], [b, c], first_score).interval
    assert interaction.estimate == pytest.approx(0.7)
    assert interaction.low == pytest.approx(0.7, abs=0.2)
    assert interaction.high == pytest.approx(0.7, abs=0.2)


def test_a_handful_of_prompts_gives_no_verdict_whatever_they_say():
    worse = fronts(0, 9)[1]
    assert Bootstrap(draws=50).difference([worse + 5], [worse], first_score).verdict == "no verdict: too few samples"


@pytest.mark.parametrize("copies", [1, 4])
def test_methods_of_equal_worth_are_rarely_told_apart(copies):
    real = 0
    for trial in range(100):
        truth, rewards = fronts(trial, 30)
        other = np.repeat(truth, copies, axis=0)[:, None] + gaussian([trial, 2], (10 * copies, 30, 2), sd=0.5)
        shared = rewards.mean(axis=0, keepdims=True) - truth.mean(axis=0)
        real += Bootstrap(draws=150).difference([other + shared], [rewards], HYPERVOLUME).verdict == "real"
    assert real <= 10  # 5 % of 100, standard deviation 2.2


def test_methods_may_have_different_numbers_of_candidates():
    few, many = fronts(0, 60, n_candidates=3, lift=0.0)[1], fronts(0, 60, n_candidates=20, lift=1.0)[1]
    assert Bootstrap(draws=200).difference([many], [few], HYPERVOLUME).verdict == "real"


def test_score_intervals_are_those_of_every_mean():
    rewards = gaussian(3, (4, 25, 2))
    bootstrap = Bootstrap(draws=500)
    low, high = bootstrap.score_intervals(rewards)
    assert low.shape == high.shape == (4, 2)
    for candidate, value in np.ndindex(4, 2):
        alone = bootstrap.interval([rewards], lambda s, at=(candidate, value): s[at])
        assert (low[candidate, value], high[candidate, value]) == pytest.approx((alone.low, alone.high))


def test_membership_without_doubt_is_certain():
    scores = gaussian(4, (12, 2))
    rewards = np.repeat(scores[:, None], 20, axis=1)
    assert Bootstrap(draws=20).membership(rewards).tolist() == non_dominated(scores).astype(float).tolist()


def test_membership_of_two_equal_candidates_of_two_values_is_three_quarters_on_average():
    # One is dominated when it is worse in both of two independent values, which is as likely in the data as in a
    # replicate of them: 1 - 1/4.
    shares = [Bootstrap(draws=200).membership(gaussian(seed, (2, 30, 2))).mean() for seed in range(60)]
    assert np.mean(shares) == pytest.approx(0.75, abs=0.04)


def test_what_is_common_to_all_candidates_on_a_prompt_does_not_blur_the_front():
    prompts = gaussian(5, (1, 20, 2), sd=100.0)
    rewards = prompts + np.array([[1.0, 0.0], [0.0, 1.0], [-0.1, -0.1]])[:, None]
    assert Bootstrap(draws=100).membership(rewards).tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.zeros((2, 1, 2)), np.zeros((0, 5, 2))])
def test_refuses_what_are_no_rewards_of_several_prompts(bad):
    with pytest.raises(ValueError, match=r"\(n_candidates, n_prompts, n_values\) with at least 2 prompts"):
        Bootstrap().score_intervals(bad)


def test_refuses_runs_that_do_not_belong_together():
    run = fronts(0, 10)[1]
    with pytest.raises(ValueError, match="no runs"):
        Bootstrap().interval([], HYPERVOLUME)
    with pytest.raises(ValueError, match="on the same prompts and values"):
        Bootstrap().difference([run], [run[:, :9]], HYPERVOLUME)
    with pytest.raises(ValueError, match="have 1 and 2 seeds"):
        Bootstrap().difference([run], [run, run], HYPERVOLUME)
    with pytest.raises(ValueError, match="NaN or infinite"):
        Bootstrap().membership(np.where(run > 1, np.nan, run))


@pytest.mark.parametrize("settings", [{"draws": 1}, {"level": 1.0}, {"level": 0.0}])
def test_refuses_settings_that_give_no_interval(settings):
    with pytest.raises(ValueError, match="need draws >= 2, 0 < level < 1"):
        Bootstrap(**settings)
