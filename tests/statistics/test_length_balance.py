"""Agreement without length, on data whose answer is known."""

import numpy as np
import pytest
from scipy.stats import norm

from mva.statistics.length_balance import BINS, balanced_agreement, balancing_weights
from mva.statistics.proportions import proportion_interval


def lengths(generator, n, *, longer):
    """Log-ratios of n pairs: of any size, the chosen response the longer one in a share `longer` of them."""
    sides = np.where(generator.random(n) < longer, 1.0, -1.0)
    return sides * generator.exponential(0.5, n)


def agreements(generator, d, *, quality, of_length):
    """Draw outcomes of a reward `N(quality, 1) + of_length * d`; returns them and their true probabilities."""
    probability = norm.cdf(quality + of_length * d)
    return (generator.random(len(d)) < probability).astype(float), probability


def test_the_weights_of_a_bin_by_hand():
    # Three of four are longer: they weigh 1/4 each, the fourth 3/4. A pair of equal lengths weighs 1/2.
    assert balancing_weights([1.0, 1.0, 1.0, -1.0, 0.0]).tolist() == [0.25, 0.25, 0.25, 0.75, 0.5]


@pytest.mark.parametrize("longer", [0.5, 0.8, 0.95])
def test_any_rule_that_rises_with_length_agrees_with_exactly_half(longer):
    d = lengths(np.random.default_rng(0), 400, longer=longer)
    assert np.mean(d > 0) == pytest.approx(longer, abs=0.05)
    assert balanced_agreement(d > 0, d).accuracy == pytest.approx(0.5)
    assert balanced_agreement(d < 0, d).accuracy == pytest.approx(0.5)


def test_a_reward_that_always_agrees_keeps_all_of_it():
    d = lengths(np.random.default_rng(0), 200, longer=0.8)
    assert balanced_agreement(np.ones(200), d).accuracy == pytest.approx(1.0)


def test_pairs_of_equal_lengths_have_nothing_to_take_out():
    outcomes = np.repeat([1.0, 0.5, 0.0], [60, 10, 30])
    balanced = balanced_agreement(outcomes, np.zeros(100))
    assert balanced.accuracy == pytest.approx(0.65)
    assert balanced.n_effective == pytest.approx(100)
    assert (balanced.low, balanced.high) == pytest.approx(proportion_interval(65, 100, ties=10))


def test_where_all_pairs_have_one_difference_the_answer_is_the_mean_of_two_normal_probabilities():
    generator = np.random.default_rng(1)
    d = np.where(generator.random(40_000) < 0.8, 1.0, -1.0)
    outcomes, _ = agreements(generator, d, quality=0.4, of_length=0.6)
    expected = (norm.cdf(0.4 + 0.6) + norm.cdf(0.4 - 0.6)) / 2
    assert outcomes.mean() == pytest.approx(0.8 * norm.cdf(1.0) + 0.2 * norm.cdf(-0.2), abs=0.01)
    assert balanced_agreement(outcomes, d).accuracy == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("longer", [0.5, 0.75])
def test_a_reward_that_knows_nothing_of_length_agrees_as_often_as_before(longer):
    generator = np.random.default_rng(2)
    d = lengths(generator, 40_000, longer=longer)
    outcomes, _ = agreements(generator, d, quality=0.5, of_length=0.0)
    assert balanced_agreement(outcomes, d).accuracy == pytest.approx(norm.cdf(0.5), abs=0.01)


def test_a_large_difference_on_one_side_alone_is_left_out():
    """Where the chosen response is the longer one it is far longer: only pairs of like difference may be compared."""
    d = np.r_[np.full(300, 3.0), np.full(50, 0.1), np.full(50, -0.1)]
    weights = balancing_weights(d)
    assert weights[:300].max() == 0
    assert balanced_agreement(d > 0, d).n_effective == pytest.approx(100)


@pytest.mark.parametrize("n_shorter", [0, 2])
def test_pairs_that_know_no_other_side_have_no_answer(n_shorter):
    d = np.r_[np.ones(200), -np.ones(n_shorter)]
    assert balanced_agreement(np.ones(len(d)), d) is None


def test_swapping_chosen_and_rejected_mirrors_the_answer():
    generator = np.random.default_rng(3)
    d = lengths(generator, 150, longer=0.7)
    outcomes, _ = agreements(generator, d, quality=0.5, of_length=0.5)
    forward, mirrored = balanced_agreement(outcomes, d), balanced_agreement(1 - outcomes, -d)
    assert forward.accuracy + mirrored.accuracy == pytest.approx(1)
    assert forward.low + mirrored.high == pytest.approx(1)


@pytest.mark.parametrize("n", [50, 150])
@pytest.mark.parametrize(("longer", "quality", "of_length"), [(0.5, 0.3, 0.0), (0.7, 0.3, 1.0), (0.85, 0.0, 2.0)])
def test_the_interval_covers_the_weighted_truth_of_the_same_pairs(n, longer, quality, of_length):
    """1000 simulated sources (seed 4): 95 % of the intervals hold the weighted mean of the true probabilities."""
    generator = np.random.default_rng(4)
    covered = []
    for _ in range(1000):
        d = lengths(generator, n, longer=longer)
        outcomes, probability = agreements(generator, d, quality=quality, of_length=of_length)
        balanced = balanced_agreement(outcomes, d)
        if balanced is not None:
            truth = np.average(probability, weights=balancing_weights(d))
            covered.append(balanced.low <= truth <= balanced.high)
    assert len(covered) > 800
    assert np.mean(covered) >= 0.93
    assert BINS == 4, "the simulated number of bins"
