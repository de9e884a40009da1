"""What every search owes. A new search adds one line to SEARCHES."""

from dataclasses import FrozenInstanceError, is_dataclass

import pytest

from mva.extrapolation.candidate import ScoredCandidate
from mva.extrapolation.explore import explore
from mva.extrapolation.space import CoefficientSpace
from mva.search.adaptive import Adaptive
from mva.search.grid import Grid
from mva.search.listed import Listed
from mva.search.one_hot import OneHot
from mva.search.simplex import Simplex
from mva.search.sobol import Sobol

SPACE = CoefficientSpace(("a", "b"), composition="ties")
SEARCHES = [
    Grid(levels=2),
    Simplex(resolution=3),
    OneHot(),
    Sobol(n=4),
    Listed([{"a": 0.5, "b": 0.25}], include_corners=True),
    Adaptive(budget=6, batch=2),
    Adaptive(budget=6, batch=2, surface="quadratic"),
]


@pytest.fixture(params=SEARCHES, ids=repr)
def spec(request):
    return request.param


def score(candidates):
    scored = []
    for candidate in candidates:
        a, b = candidate.vector(SPACE.values)
        scored.append(ScoredCandidate(candidate, {"a": a - b * b, "b": b - a * a}, {"a": 0.0, "b": 0.0}, 1))
    return scored


def test_comes_to_an_end_and_stays_there(spec):
    search = spec.start(SPACE, seed=0)
    explore(search, score)
    assert search.ask() == []
    assert search.ask() == []


def test_asks_for_candidates_of_the_space(spec):
    candidates = [one.candidate for one in explore(spec.start(SPACE, seed=0), score)]
    assert all(set(candidate.coefficients) == {"a", "b"} for candidate in candidates)
    assert all(candidate.composition == "ties" for candidate in candidates)
    assert all(candidate in SPACE for candidate in candidates)


def test_asks_for_no_candidate_twice(spec):
    search, asked = spec.start(SPACE, seed=0), []
    while turn := search.ask():
        asked += [candidate.id for candidate in turn]
        search.tell(score(turn))
    assert len(set(asked)) == len(asked)


def test_the_base_and_each_vector_alone_are_among_them(spec):
    found = {one.candidate.id for one in explore(spec.start(SPACE, seed=0), score)}
    assert {corner.id for corner in SPACE.corners()} <= found


def test_the_same_seed_asks_the_same(spec):
    first, again = (explore(spec.start(SPACE, seed=7), score) for _ in range(2))
    assert first == again


def test_a_specification_starts_as_many_searches_as_wanted(spec):
    spec.start(SPACE, seed=0).ask()
    assert spec.start(SPACE, seed=0).ask()


def test_is_a_frozen_dataclass(spec):
    assert is_dataclass(spec)
    with pytest.raises((FrozenInstanceError, TypeError)):
        spec.anything = 1
