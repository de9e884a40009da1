import numpy as np
import pytest
from scipy.stats import chi2, nct, norm, t

from mva.statistics.estimate import Variance, interval, mean_estimate, variance_of
from mva.statistics.power import _power, cautious, detectable, least, needs, power_of


def of_prompts(variance, *, n_prompts=24):
    return Variance(variance, 0.0, 0.0, n_prompts - 1, n_prompts, 1)


def crossed(generator, difference, n_prompts, n_seeds, sds):
    """Estimates of a paired difference, a seed each: what prompts, seeds and both together do."""
    prompts, seeds, together = sds
    rewards = (
        difference
        + prompts * generator.standard_normal(n_prompts)
        + seeds * generator.standard_normal((n_seeds, 1))
        + together * generator.standard_normal((n_seeds, n_prompts))
    )
    return [mean_estimate(row) for row in rewards]


@pytest.mark.parametrize("df", [5, 23, 100])
@pytest.mark.parametrize("mean", [0.0, 1.0, 2.8, 6.0])
def test_the_power_is_that_of_the_noncentral_t(df, mean):
    variance = Variance(0.04, 0.0, 0.0, df, df + 1, 1)
    limit = t.isf(0.025, df)
    exact = nct.sf(limit, df, mean) + nct.cdf(-limit, df, mean) if mean else 0.05
    assert _power(variance, 0.2 * mean, level=0.95) == pytest.approx(exact, abs=0.01)


def test_with_many_prompts_the_number_is_that_of_the_normal_theory():
    n = 100_000
    variance = of_prompts(4.0 / n, n_prompts=n)
    detected = detectable(variance, n_prompts=n, n_seeds=1)
    assert detected == pytest.approx((norm.isf(0.025) + norm.ppf(0.8)) * (4.0 / n) ** 0.5, rel=0.01)


def test_a_pilot_of_few_prompts_and_seeds_is_not_taken_at_its_word():
    assert cautious(of_prompts(1.0)).prompts == pytest.approx(23 / chi2.ppf(0.4, 23))
    measured = Variance(0.1, 0.2, 0.3, 4, 24, 3)
    careful = cautious(measured)
    assert careful.seeds + careful.interaction == pytest.approx(0.5 * 2 / chi2.ppf(0.5, 2))
    assert careful.interaction == pytest.approx(0.2 * 23 / chi2.ppf(0.4, 23))


def test_the_needed_numbers_are_the_least_that_are_enough():
    variance = Variance(0.0002, 0.006, -0.003, 6, 24, 3)
    needed = needs(variance, 0.2)
    for numbers, fewer in (
        ((needed.prompts, 3), (needed.prompts - 1, 3)),
        ((24, needed.seeds), (24, needed.seeds - 1)),
    ):
        assert power_of(variance, 0.2, n_prompts=numbers[0], n_seeds=numbers[1]) >= 0.8
        assert power_of(variance, 0.2, n_prompts=fewer[0], n_seeds=fewer[1]) < 0.8


def test_where_seeds_are_all_of_the_variance_no_number_of_prompts_will_do():
    needed = needs(Variance(0.0, 0.0, 0.01, 2, 24, 3), 0.1)
    assert needed.prompts is None
    assert needed.seeds > 24
    assert needs(of_prompts(0.01), 0.1).seeds is None, "one seed says nothing of seeds"


def test_what_is_told_and_what_is_needed_are_each_others_inverse():
    variance = Variance(0.001, 0.004, 0.002, 6, 24, 3)
    detected = detectable(variance, n_prompts=80, n_seeds=7)
    assert power_of(variance, detected, n_prompts=80, n_seeds=7) == pytest.approx(0.8, abs=0.001)
    assert detectable(of_prompts(0.0), n_prompts=24, n_seeds=1) == 0.0


def test_the_least_number_is_found_by_halving():
    asked = []

    def enough(number):
        asked.append(number)
        return number >= 777

    assert least(enough, 10, 100_000) == 777
    assert len(asked) < 25
    assert least(enough, 800, 100_000) == 800
    assert least(enough, 10, 500) is None


@pytest.mark.parametrize(("n_prompts", "difference"), [(12, 0.6), (24, 0.4)])
def test_the_promised_prompts_deliver_what_is_promised(n_prompts, difference):
    detected = []
    for number in range(500):
        generator = np.random.default_rng([number, n_prompts])
        pilot = variance_of(crossed(generator, 0.0, n_prompts, 1, (1.0, 0.0, 0.0)))
        planned = needs(pilot, difference).prompts
        detected.append(interval(crossed(generator, difference, planned, 1, (1.0, 0.0, 0.0))).low > 0)
    assert 0.75 <= np.mean(detected) <= 0.86  # the standard error of the share is 0.018


def test_the_promised_seeds_deliver_what_is_promised():
    detected, sds = [], (0.3, 0.2, 1.0)
    for number in range(300):
        generator = np.random.default_rng([number, 3])
        pilot = variance_of(crossed(generator, 0.0, 100, 3, sds))
        planned = needs(pilot, 0.3).seeds
        if planned is not None and planned < 200:
            detected.append(interval(crossed(generator, 0.3, 100, planned, sds)).low > 0)
    assert len(detected) > 270
    assert 0.73 <= np.mean(detected) <= 0.88
