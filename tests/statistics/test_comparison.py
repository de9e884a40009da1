import numpy as np
import pytest
from scipy.stats import t

from mva.statistics.comparison import chance_line, differences, holm, judged, pooled
from mva.statistics.estimate import Estimate, mean_estimate, variance_of


def gaussian(seed, shape, *, sd=1.0):
    return np.random.default_rng(seed).normal(scale=sd, size=shape)


def table(seed, n_methods, *, n_seeds=3, n_prompts=24, lift=0.0, sd=0.3):
    """Methods with seeds of their own; the last one is better by `lift`."""
    prompts = gaussian([seed, 0], n_prompts)
    levels = gaussian([seed, 1], (n_methods, n_seeds), sd=sd)
    levels[-1] += lift
    noise = gaussian([seed, 2], (n_methods, n_seeds, n_prompts), sd=0.5)
    return [[mean_estimate(prompts + levels[m, s] + noise[m, s]) for s in range(n_seeds)] for m in range(n_methods)]


def test_a_single_pair_of_one_seed_is_the_paired_t_test():
    first, second = gaussian(0, 20), gaussian(1, 20)
    (difference,) = differences([[mean_estimate(first)]], [mean_estimate(second)], smallest_difference=0)
    half = t.isf(0.025, 19) * (first - second).std(ddof=1) / 20**0.5
    assert difference.interval.high - difference.interval.low == pytest.approx(2 * half)
    assert difference.simultaneous == difference.verdict


@pytest.mark.parametrize("n_methods", [2, 8])
def test_equal_methods_are_called_different_as_often_as_chance_does(n_methods):
    told = []
    for seed in range(300):
        first, *others = table(seed, n_methods)
        told += [d.verdict.word in ("better", "worse") for d in differences(others, first, smallest_difference=0)]
    assert 0.01 <= np.mean(told) <= 0.075


def test_a_table_tells_what_a_pair_of_few_seeds_can_not():
    alone, among = 0, 0
    for seed in range(200):
        first, *others = table(seed, 8, lift=0.9)
        alone += differences(others[-1:], first, smallest_difference=0)[0].verdict.word == "better"
        among += differences(others, first, smallest_difference=0)[-1].verdict.word == "better"
    assert among > 1.3 * alone


def test_a_method_whose_seeds_vary_far_more_keeps_its_own_variance():
    first, *others = table(0, 8)
    wild = [Estimate(estimate.value * 40, estimate.effects, estimate.raw) for estimate in others[0]]
    own = [variance_of([a - b for a, b in zip(method, first, strict=True)]) for method in (wild, *others[1:])]
    together = pooled(own)
    assert together[0] == own[0]
    assert all(variance.df > before.df for variance, before in zip(together[1:], own[1:], strict=True))


def test_what_holds_of_all_at_once_is_holms():
    assert holm([0.04, 0.001, 0.012], alpha=0.05) == [True, True, True]
    assert holm([0.04, 0.03, 0.012], alpha=0.05) == [False, False, True]
    assert holm([0.03, 0.03], alpha=0.05) == [False, False]


def test_a_verdict_may_hold_alone_and_not_of_all_at_once():
    estimates = [mean_estimate(gaussian(7, 24) - gaussian(7, 24).mean() + shift) for shift in (0.42, 0.0, 0.0, 0.0)]
    found = judged([[estimate] for estimate in estimates], smallest_difference=0)
    assert found[0].verdict.word == "better"
    assert found[0].simultaneous.word == "undecided"
    assert 0.0125 < found[0].p_value < 0.05


def test_all_equal_tables_have_a_wrong_verdict_of_all_at_once_in_one_of_twenty():
    wrong = 0
    for seed in range(300):
        first, *others = table(seed, 6, n_seeds=5)
        found = differences(others, first, smallest_difference=0)
        wrong += any(difference.simultaneous.word != "undecided" for difference in found)
    assert 0.005 <= wrong / 300 <= 0.085


def test_chance_is_put_in_words():
    assert chance_line(40) == "Of 40 comparisons without any difference, chance calls 2 better or worse."


def test_other_seeds_are_refused():
    first, second = table(0, 2)
    with pytest.raises(ValueError, match="2 and 3 seeds"):
        differences([second[:2]], first, smallest_difference=0)
