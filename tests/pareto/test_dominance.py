import numpy as np
import pytest

from mva.pareto.dominance import NotFinite, non_dominated


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
