"""Scores read off a surface, from the evaluator's rewards to the front's record."""

import json

import numpy as np
import pytest

from mva.evaluation.certainty import with_surface
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.pareto.front import Front, select_front
from mva.statistics.surface_scores import surface_scores

VALUES = ("kind", "brief")
GRID = np.stack(np.meshgrid(*[np.linspace(0, 1, 4)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)


def explored(points, *, fall=0.0):
    """Scored candidates, their rewards, and an evaluator that knows these; `brief` falls off a cliff by `fall`."""
    generator = np.random.default_rng(0)
    truth = points - 0.4 * points[:, ::-1]
    truth[:, 1] -= fall * (points.sum(axis=1) > 1)
    rewards = truth[:, None] + 0.5 * generator.standard_normal((len(points), 20, 2))
    scored = [
        ScoredCandidate(
            Candidate(dict(zip(VALUES, point.tolist(), strict=True))),
            dict(zip(VALUES, array.mean(axis=0).tolist(), strict=True)),
            dict.fromkeys(VALUES, 0.1),
            20,
        )
        for point, array in zip(points, rewards, strict=True)
    ]
    evaluator = type("Evaluator", (), {"rewards_array": lambda *_: rewards})()
    return scored, rewards, evaluator


def test_every_candidate_has_its_scores_off_the_surface_and_they_survive_json():
    scored, rewards, evaluator = explored(GRID)
    front = with_surface(select_front(scored, values=VALUES), scored, evaluator)
    expected = surface_scores(GRID, rewards)
    for row, each in enumerate(scored):
        assert front.surface.scores[each.candidate.id] == pytest.approx(
            dict(zip(VALUES, expected.means[row], strict=True))
        )
        assert front.surface.standard_errors[each.candidate.id]["kind"] == pytest.approx(expected.errors[row, 0])
    assert Front.from_json(json.loads(json.dumps(front.to_json()))) == front


def test_a_value_that_falls_off_has_no_scores_off_the_surface():
    scored, _, evaluator = explored(GRID, fall=4.0)
    surface = with_surface(select_front(scored, values=VALUES), scored, evaluator).surface
    assert {value: fit.used for value, fit in surface.fits.items()} == {"kind": True, "brief": False}
    assert all(set(scores) == {"kind"} for scores in surface.scores.values())


def test_a_vector_for_each_candidate_leaves_the_front_as_it_is():
    scored, _, evaluator = explored(np.eye(2))
    front = select_front(scored, values=VALUES)
    assert with_surface(front, scored, evaluator) is front
