import json

import pytest

from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.pareto.dominance import NotFinite
from mva.pareto.front import Bounds, Front, select_front

VALUES = ("helpful", "harmless")


def scored(coefficients, scores, *, errors=(0.0, 0.0), values=VALUES, split="validation"):
    return ScoredCandidate(
        Candidate(dict(zip(values, coefficients, strict=True))),
        scores=dict(zip(values, scores, strict=True)),
        standard_errors=dict(zip(values, errors, strict=True)),
        n_prompts=40,
        split=split,
    )


STAIRCASE = [
    scored((1.0, 0.0), (3.0, 1.0)),
    scored((1.0, 1.0), (2.0, 2.0)),
    scored((0.0, 1.0), (1.0, 3.0)),
    scored((0.0, 0.0), (0.5, 0.5)),
]
ORIGIN = {"helpful": 0.0, "harmless": 0.0}


def front(candidates=STAIRCASE, **options):
    return select_front(candidates, values=VALUES, **{"reference_point": ORIGIN, **options})


def test_keeps_the_non_dominated_candidates_in_the_order_of_the_first_value():
    assert [dict(point.scores) for point in front().points] == [
        {"helpful": 1.0, "harmless": 3.0},
        {"helpful": 2.0, "harmless": 2.0},
        {"helpful": 3.0, "harmless": 1.0},
    ]


def test_hypervolumes_of_box_and_simplex_are_those_of_the_staircases():
    assert front().hypervolume == pytest.approx(6)
    assert front().hypervolume_simplex == pytest.approx(5)  # without the step (2, 2), whose coefficients sum to 2
    assert front(STAIRCASE[1:2]).hypervolume_simplex is None


def test_a_subtracted_vector_is_not_convex():
    assert front([scored((1.5, -0.5), (1.0, 1.0))]).hypervolume_simplex is None


def test_the_nadir_rule_is_told_with_its_margin():
    chosen = front(reference_point="nadir", margin=0.2)
    assert chosen.reference_point == pytest.approx({"helpful": 0.0, "harmless": 0.0})
    assert chosen.reference_point_rule == "nadir: worst score minus 0.2 of the range"
    assert front().reference_point_rule == "explicit"


def test_the_base_is_the_candidate_without_any_vector():
    assert front().base.scores == {"helpful": 0.5, "harmless": 0.5}
    assert front(STAIRCASE[:3]).base is None


def test_certainty_is_added_by_id_and_survives_json():
    chosen = front()
    probabilities = {point.id: 0.25 * number for number, point in enumerate(chosen.points)}
    certain = chosen.with_certainty({**probabilities, "another": 1.0}, Bounds(2.0, 1.5, 2.5))
    assert [point.membership_probability for point in certain.points] == [0.0, 0.25, 0.5]
    assert Front.from_json(json.loads(json.dumps(certain.to_json()))) == certain
    assert all(point.membership_probability is None for point in chosen.points)


def test_exact_ties_are_all_members():
    assert len(front([*STAIRCASE, scored((0.7, 0.7), (2.0, 2.0))]).points) == 4


def test_a_front_of_one_value_is_its_best_candidate():
    candidates = [scored((w,), (s,), errors=(0.0,), values=("kind",)) for w, s in ((0.0, 1.0), (0.5, 3.0), (1.0, 2.0))]
    chosen = select_front(candidates, values=("kind",), reference_point={"kind": 1.0})
    assert [point.scores["kind"] for point in chosen.points] == [3.0]
    assert chosen.hypervolume == pytest.approx(2)
    assert chosen.hypervolume_simplex == pytest.approx(1)


def test_points_below_the_reference_point_stay_members_without_volume():
    chosen = front(reference_point={"helpful": 5.0, "harmless": 5.0})
    assert len(chosen.points) == 3
    assert chosen.hypervolume == 0


def test_held_out_scores_change_the_volume_but_not_the_membership():
    held_out = [
        scored((1.0, 0.0), (2.0, 1.0), errors=(0.3, 0.3), split="test"),
        scored((1.0, 1.0), (1.0, 1.0), split="test"),
        scored((0.0, 1.0), (1.0, 2.0), split="test"),
        scored((0.0, 0.0), (0.25, 0.75), split="test"),
    ]
    both = front().with_held_out(held_out)
    assert [point.id for point in both.points] == [point.id for point in front().points]
    assert both.hypervolume == pytest.approx(6)
    assert both.hypervolume_held_out == pytest.approx(3)
    assert both.hypervolume_simplex_held_out == pytest.approx(3), "without (1, 1), whose corner both others hold"
    assert both.points[-1].scores_held_out == {"helpful": 2.0, "harmless": 1.0}
    assert both.points[-1].standard_errors_held_out == {"helpful": 0.3, "harmless": 0.3}
    assert both.base.scores_held_out == {"helpful": 0.25, "harmless": 0.75}


def test_the_simplex_has_a_front_of_its_own_that_is_scored_again_too():
    lower = [
        scored((0.5, 0.5), (1.5, 1.5)),
        scored((0.75, 0.25), (2.0, 0.5)),
    ]  # under (1, 1); the second under the first
    chosen = front([*STAIRCASE, *lower])
    one_hot = [STAIRCASE[0].candidate.id, STAIRCASE[2].candidate.id]
    assert chosen.simplex == (one_hot[1], lower[0].candidate.id, one_hot[0])
    assert chosen.to_score_again == {*chosen.simplex, *(one.candidate.id for one in STAIRCASE)}
    with pytest.raises(ValueError, match=f"front's candidates {lower[0].candidate.id}:"):
        chosen.with_held_out(STAIRCASE)


def test_held_out_scores_of_every_member_are_needed():
    with pytest.raises(ValueError, match=f"No held-out scores for the front's candidates {front().points[0].id}:"):
        front().with_held_out(STAIRCASE[:2])


@pytest.mark.parametrize("chosen", [front(), front(STAIRCASE[:3]), front().with_held_out(STAIRCASE)])
def test_survives_json(chosen):
    assert Front.from_json(json.loads(json.dumps(chosen.to_json(), allow_nan=False))) == chosen


def test_the_stored_form_has_the_documented_keys():
    record = front().to_json()
    assert set(record) == {
        "schema_version", "values", "reference_point", "reference_point_rule", "score_scaling", "hypervolume",
        "hypervolume_held_out", "hypervolume_simplex", "hypervolume_simplex_held_out", "simplex", "n_candidates",
        "base", "points", "hypervolume_held_out_true", "smallest_difference", "surface", "select_by", "scored_by",
    }  # fmt: skip
    assert set(record["points"][0]) == {
        "id", "coefficients", "composition", "scores", "standard_errors", "scores_held_out",
        "standard_errors_held_out", "membership_probability",
    }  # fmt: skip
    assert record["schema_version"] == 1
    assert record["score_scaling"] == "none"
    assert record["n_candidates"] == 4


def test_refuses_another_schema_version():
    with pytest.raises(ValueError, match="schema version 99"):
        Front.from_json({**front().to_json(), "schema_version": 99})


def test_refuses_nothing_scored():
    with pytest.raises(ValueError, match="no scored candidates"):
        front([])


def test_refuses_scores_that_are_not_finite():
    with pytest.raises(NotFinite, match="Candidates 4 "):
        front([*STAIRCASE, scored((0.3, 0.3), (float("nan"), 1.0))])


def test_refuses_a_value_without_scores():
    with pytest.raises(ValueError, match="no score for honest: only for helpful, harmless"):
        select_front(STAIRCASE, values=("helpful", "honest"))


def test_refuses_a_reference_point_without_all_values():
    with pytest.raises(ValueError, match="harmless"):
        front(reference_point={"helpful": 0.0})
