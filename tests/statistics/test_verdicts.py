import numpy as np
import pytest
from scipy.stats import chi2

from mva.statistics.estimate import Interval, Variance, interval, mean_estimate
from mva.statistics.verdicts import verdict, what_decides


def bounds(low, high, *, n_prompts=24, n_seeds=3, seeds=0.0):
    spread = ((high - low) / 4) ** 2
    variance = Variance(spread * (1 - seeds), 0.0, spread * seeds, 20, n_prompts, n_seeds)
    middle = (low + high) / 2
    return Interval(middle, low, high, middle, variance)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.9, "better"),
        (-0.9, -0.1, "worse"),
        (-0.04, 0.03, "no difference larger than 0.05"),
        (0.01, 0.03, "better"),
    ],
)
def test_the_interval_decides_the_word(low, high, words):
    assert str(verdict(bounds(low, high), smallest_difference=0.05)) == words


def test_what_is_undecided_says_what_would_decide_it():
    variance = Variance(prompts=0.0002, interaction=0.006, seeds=-0.003, df=20, n_prompts=24, n_seeds=3)
    words = str(verdict(Interval(0.15, -0.05, 0.35, 0.15, variance), smallest_difference=0.0))
    assert words.startswith("undecided, needs about ")
    assert "prompts or " in words
    assert words.endswith("seeds")


def test_few_prompts_are_undecided_whatever_the_interval():
    decided = verdict(bounds(0.5, 0.9, n_prompts=9), smallest_difference=0.0)
    assert decided.word == "undecided"
    assert decided.prompts >= 10


def test_prompts_that_are_needed_are_those_of_the_normal_theory_with_a_margin_for_the_pilot():
    # Standard error 0.1 with 24 prompts, difference 0.1: told with 80 % at a standard error of 0.1 / 2.8.
    prompts, seeds = what_decides(bounds(-0.1, 0.3), 0.0)
    assert prompts == pytest.approx(24 * 2.802**2 * 23 / chi2.ppf(0.4, 23), rel=0.03)
    assert seeds is None, "seeds don't help where prompts are all of the variance"


def test_prompts_do_not_help_where_seeds_are_all_of_the_variance():
    prompts, seeds = what_decides(bounds(-0.1, 0.3, seeds=1.0), 0.0)
    assert prompts is None
    assert seeds == pytest.approx(3 * 2.802**2 * 2 / chi2.ppf(0.5, 2), abs=3)


def test_that_many_prompts_deliver_the_power_that_is_promised():
    # A difference of 0.3 standard deviations: the number reckoned from its true variance tells it in 80 %.
    needed, _ = what_decides(bounds(0.3 - 2 / 24**0.5, 0.3 + 2 / 24**0.5, n_seeds=1), 0.0)
    generator, told = np.random.default_rng(0), 0
    for _ in range(1000):
        sample = mean_estimate(generator.normal(0.3, 1.0, needed))
        told += verdict(interval([sample]), smallest_difference=0.0).word == "better"
    assert 0.75 <= told / 1000 <= 0.85


def test_to_show_that_there_is_no_difference_takes_prompts_too():
    prompts, _ = what_decides(bounds(-0.2, 0.2), 0.05)
    assert prompts == pytest.approx(24 * (0.1 / (0.05 / 2.802)) ** 2 * 23 / chi2.ppf(0.4, 23), rel=0.01)


def test_no_number_is_promised_where_none_will_do():
    decided = verdict(bounds(-1.0, 1.0), smallest_difference=0.0)
    assert (decided.prompts, decided.seeds) == (None, None)
    assert "more" in str(decided)
