"""How sure a front is: what its candidates' rewards say of their true scores."""

from collections.abc import Sequence
from dataclasses import replace

from mva.evaluation.base import CandidateEvaluator
from mva.extrapolation.candidate import ScoredCandidate, coordinates
from mva.pareto.front import Bounds, Front
from mva.pareto.hypervolume import hypervolume
from mva.pareto.surface import SurfaceFit, SurfaceRecord
from mva.statistics.estimate import interval
from mva.statistics.membership import MOST_SCORES, membership
from mva.statistics.posterior import ScorePosterior
from mva.statistics.surface_scores import SurfaceScores, surface_scores


def most_members(n_values: int) -> int:
    """How many members of a front a surface is fitted to: its cost is that of their scores' number, cubed."""
    return MOST_SCORES // n_values


def with_certainty(
    front: Front,
    scored: Sequence[ScoredCandidate],
    validation: CandidateEvaluator,
    scored_held_out: Sequence[ScoredCandidate],
    held_out: CandidateEvaluator,
) -> Front:
    """Add the probabilities of being on the front (validation prompts) and the true hypervolume (held-out prompts).

    `scored` are all candidates, `scored_held_out` at least the front's, each with the evaluator that scored it.
    A front of more than `most_members` stays as it is: its members can't be drawn together.
    """
    if len(front.points) > most_members(len(front.values)):
        return front
    probabilities = membership(
        coordinates([each.candidate for each in scored]), validation.rewards_array(scored, front.values)
    )
    ids = {point.id for point in front.points}
    members = [each for each in scored_held_out if each.candidate.id in ids]
    posterior = ScorePosterior.of(
        coordinates([each.candidate for each in members]), held_out.rewards_array(members, front.values)
    )
    point = [front.reference_point[value] for value in front.values]
    volume = interval([posterior.estimate(lambda scores: hypervolume(scores, point))], at_least=0.0)
    return front.with_certainty(
        {each.candidate.id: float(p) for each, p in zip(scored, probabilities, strict=True)},
        Bounds(volume.estimate, volume.low, volume.high),
    )


def with_surface(front: Front, scored: Sequence[ScoredCandidate], validation: CandidateEvaluator) -> Front:
    """Add the scores of all candidates, read off a surface; a front without one stays as it is (`surface_scores`)."""
    places = coordinates([each.candidate for each in scored])
    scores = surface_scores(places, validation.rewards_array(scored, front.values))
    if scores is None:
        return front
    return replace(front, surface=surface_record(scores, front.values, [each.candidate.id for each in scored]))


def surface_record(scores: SurfaceScores, values: Sequence[str], ids: Sequence[str]) -> SurfaceRecord:
    """Name scores read off a surface by candidate and value, without the values whose surface does not fit."""
    used = [(column, value) for column, value in enumerate(values) if scores.fits[column]]
    fits = {
        value: SurfaceFit(float(scores.p_values[column]), bool(scores.fits[column]), float(scores.worth[column]))
        for column, value in enumerate(values)
    }
    means, errors = (
        {id_: {value: float(table[row, column]) for column, value in used} for row, id_ in enumerate(ids)}
        for table in (scores.means, scores.errors)
    )
    return SurfaceRecord(fits, means, errors)
