import numpy as np
import pytest
import torch

from mva.extrapolation.candidate import ScoredCandidate
from mva.extrapolation.explore import explore
from mva.extrapolation.space import CoefficientSpace
from mva.pareto.hypervolume import hypervolume
from mva.search.adaptive import Adaptive
from mva.search.sobol import Sobol

SPACE = CoefficientSpace(("a", "b"))


def trade_off(coefficients):
    """Each value gains by its own vector, loses by the other one, and by too much of its own."""
    a, b = coefficients
    return np.array([a - 0.6 * b**2 - 0.3 * a**2, b - 0.5 * a**2 - 0.35 * b**2])


def score(candidates, space=SPACE):
    scored = []
    for candidate in candidates:
        means = trade_off(candidate.vector(space.values)) if len(space.values) == 2 else candidate.vector(space.values)
        scores = dict(zip(space.values, map(float, means), strict=True))
        scored.append(ScoredCandidate(candidate, scores, dict.fromkeys(scores, 0.0), 1))
    return scored


def vectors(candidates, space=SPACE):
    return [candidate.vector(space.values) for candidate in candidates]


def test_asks_for_the_anchors_first():
    assert vectors(Adaptive().start(SPACE, seed=0).ask()) == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_spends_exactly_the_budget_in_turns_of_the_batch_on_different_candidates():
    turns = []
    scored = explore(
        Adaptive(budget=9, batch=2).start(SPACE, seed=0), score, on_scored=lambda new: turns.append(len(new))
    )
    assert turns == [4, 2, 2, 1]
    assert len({one.candidate.id for one in scored}) == 9


def test_a_budget_below_the_number_of_anchors_cuts_them():
    assert vectors(one.candidate for one in explore(Adaptive(budget=2).start(SPACE, seed=0), score)) == [
        (0, 0),
        (1, 0),
    ]


def test_proposals_are_a_function_of_seed_and_scores_alone_so_that_a_resumed_search_goes_on():
    interrupted, uninterrupted = (
        Adaptive(budget=8).start(SPACE, seed=3),
        Adaptive(budget=8).start(SPACE, seed=3),
    )
    uninterrupted.tell(score(uninterrupted.ask()))
    torch.rand(5)  # the global generators play no part
    np.random.rand(5)
    interrupted.tell(score(interrupted.ask()))
    expected = uninterrupted.ask()
    assert interrupted.ask() == expected
    assert interrupted.ask() == expected  # asking again before telling changes nothing


def test_finds_more_hypervolume_than_quasi_random_search_with_the_same_budget():
    def found(spec):
        scored = explore(spec.start(SPACE, seed=0), score)
        return len(scored), hypervolume([list(one.scores.values()) for one in scored], [-0.7, -0.7])

    (n_adaptive, adaptive), (n_sobol, sobol) = found(Adaptive(budget=16)), found(Sobol(n=13))
    assert n_adaptive == n_sobol == 16
    assert adaptive > sobol


def test_climbs_to_the_best_coefficient_of_a_single_value():
    space = CoefficientSpace(("a",), maximum=2.0)

    def parabola(candidates):
        return [ScoredCandidate(c, {"a": -((c.coefficients["a"] - 1.4) ** 2)}, {"a": 0.0}, 1) for c in candidates]

    scored = explore(Adaptive(budget=8, batch=1).start(space, seed=0), parabola)
    best = max(scored, key=lambda one: one.scores["a"])
    assert best.candidate.coefficients["a"] == pytest.approx(1.4, abs=0.1)


def test_stays_in_the_box_after_anchors_that_lie_outside_of_it():
    space = CoefficientSpace(("a", "b"), minimum=0.1, maximum=0.6)
    proposed = vectors(one.candidate for one in explore(Adaptive(budget=8).start(space, seed=0), score))[4:]
    assert len(proposed) == 4
    assert all(0.1 <= omega <= 0.6 for point in proposed for omega in point)


def test_serves_three_values():
    space = CoefficientSpace(("a", "b", "c"))
    scored = explore(Adaptive(budget=7, batch=2).start(space, seed=0), lambda asked: score(asked, space))
    assert len(scored) == 7


def test_serves_ten_values_and_refuses_more():
    space = CoefficientSpace(tuple("abcdefghij"))
    scored = explore(Adaptive(budget=20).start(space, seed=0), lambda asked: score(asked, space))
    assert len(scored) == 20
    with pytest.raises(ValueError, match=r"at most 10 values, not 11.*search=sobol"):
        Adaptive().start(CoefficientSpace(tuple("abcdefghijk")), seed=0)


def noisy(generator, sd):
    """Score with noise that differs by candidate, and say how large it is."""

    def score_noisily(candidates):
        scored = []
        for each in score(candidates):
            scores = {value: mean + sd * generator.standard_normal() for value, mean in each.scores.items()}
            scored.append(ScoredCandidate(each.candidate, scores, dict.fromkeys(scores, sd), 24))
        return scored

    return score_noisily


@pytest.mark.parametrize("surface", ["smooth", "quadratic"])
def test_knows_its_noise(surface):
    """Mean true hypervolume of 6 searches of 20 evaluations, beside as many quasi-random points."""

    def reached(spec):
        volumes = []
        for seed in range(6):
            scored = explore(spec.start(SPACE, seed=seed), noisy(np.random.default_rng(seed), 0.1))
            true_scores = [trade_off(each.candidate.vector(SPACE.values)) for each in scored]
            volumes.append(hypervolume(true_scores, [-0.7, -0.7]))
        return np.mean(volumes)

    assert reached(Adaptive(budget=20, surface=surface)) > reached(Sobol(n=17))


@pytest.mark.parametrize("option", ["budget", "batch"])
def test_refuses_to_spend_nothing(option):
    with pytest.raises(ValueError, match=f"^{option} is 0"):
        Adaptive(**{option: 0})
