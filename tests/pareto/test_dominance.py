import numpy as np
import pytest
from scipy.stats import norm

from mva.pareto.dominance import NotFinite, membership_probability, non_dominated, share_non_dominated


def naive_non_dominated(scores):
    return [not any((t >= s).all() and (t > s).any() for t in scores) for s in scores]


@pytest.mark.parametrize("n_values", [1, 2, 3, 5])
def test_agrees_with_the_definition_written_out(n_values):
    scores = np.random.default_rng(0).integers(0, 6, size=(60, n_values)).astype(float)
    assert non_dominated(scores).tolist() == naive_non_dominated(scores)


def test_more_is_better():
    assert non_dominated([[0.0, 0.0], [1.0, 1.0]]).tolist() == [False, True]


def test_a_tie_in_one_value_is_decided_by_the_other():
    assert non_dominated([[1.0, 2.0], [1.0, 3.0], [0.0, 3.0]]).tolist() == [False, True, False]


def test_exact_duplicates_are_all_kept_or_all_dropped():
    scores = [[1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]
    assert non_dominated(scores).tolist() == [True, True, True, False, False]


def test_of_one_value_only_the_best_remain():
    assert non_dominated([[1.0], [3.0], [2.0], [3.0]]).tolist() == [False, True, False, True]


def test_a_single_candidate_is_its_own_front():
    assert non_dominated([[-5.0, -7.0]]).tolist() == [True]


@pytest.mark.parametrize("empty", [[], np.zeros((0, 2))])
def test_no_candidates_have_no_front(empty):
    assert non_dominated(empty).shape == (0,)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_refuses_scores_that_are_not_finite_naming_their_rows(bad):
    with pytest.raises(NotFinite, match=r"Candidates 1, 3 \(counted from 0\) have a score"):
        non_dominated([[0.0, 1.0], [bad, 1.0], [2.0, 2.0], [0.0, bad]])


def test_refuses_scores_that_are_no_matrix():
    with pytest.raises(ValueError, match=r"\(n_candidates, n_values\), not \(3,\)"):
        non_dominated([1.0, 2.0, 3.0])


def test_membership_without_noise_is_certain():
    scores = np.random.default_rng(1).normal(size=(20, 2))
    probability = membership_probability(scores, np.zeros_like(scores), draws=3)
    assert probability.tolist() == non_dominated(scores).astype(float).tolist()


def test_membership_of_two_candidates_of_one_value_is_the_normal_probability():
    # P(s_0 + e_0 > s_1 + e_1) with difference 1 and standard deviation sqrt(0.6^2 + 0.8^2) = 1.
    probability = membership_probability([[1.0], [0.0]], [[0.6], [0.8]], draws=4000)
    assert probability == pytest.approx([norm.cdf(1), norm.cdf(-1)], abs=0.02)


def test_membership_of_two_equal_candidates_of_two_values_is_three_quarters():
    # One is dominated when it is worse in both of two independent values: 1 - 1/4.
    probability = membership_probability(np.zeros((2, 2)), np.ones((2, 2)), draws=4000)
    assert probability == pytest.approx([0.75, 0.75], abs=0.03)


def test_membership_is_a_function_of_the_seed():
    scores, errors = np.random.default_rng(2).normal(size=(2, 10, 2))
    first, again, other = (membership_probability(scores, abs(errors), draws=50, seed=s) for s in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


def test_refuses_standard_errors_that_are_not_finite():
    with pytest.raises(NotFinite, match="standard error"):
        membership_probability([[0.0]], [[float("nan")]])


def test_the_share_of_replicates_is_counted():
    replicates = [np.array([[1.0], [0.0]]), np.array([[1.0], [2.0]]), np.array([[1.0], [1.0]])]
    assert share_non_dominated(replicates) == pytest.approx([2 / 3, 2 / 3])
