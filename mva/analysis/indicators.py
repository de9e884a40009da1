"""A run's own front in a few numbers, with how sure they are: indicators and their intervals over prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mva.analysis.front_view import FrontView
from mva.analysis.prompt_rewards import prompt_rewards
from mva.extrapolation.candidate import Candidate, coordinates
from mva.pareto.hypervolume import hypervolume
from mva.pareto.indicators import Yardstick, expected_utility, n_front_points, spread
from mva.runs.run_folder import RunFiles
from mva.statistics.estimate import Interval, interval
from mva.statistics.membership import MOST_SCORES, near_front
from mva.statistics.posterior import ScorePosterior, Statistic

_WEIGHTS = 512


@dataclass(frozen=True)
class IndicatorRow:
    """An indicator of all candidates on validation prompts, and of the front's on held-out prompts (None: unknown).

    A plain number is one that can't be given a valid interval.
    """

    name: str
    meaning: str
    validation: Interval | float | None
    held_out: Interval | float | None


def indicator_rows(run: RunFiles, view: FrontView) -> list[IndicatorRow]:
    """Measure the run's front by what makes sense of one front alone.

    Hypervolume is in the rewards' own units, from the front's reference point. Expected utility and spread are on
    scores scaled to the range of all candidates on validation prompts (0 worst, 1 best), also for held-out prompts.
    """
    points = {point.id: Candidate(point.coefficients, point.composition) for point in view.front.points}
    everything = {each.id: Candidate(each.coefficients, each.composition) for each in view.candidates}
    splits = [_scored(run, everything, "validation", view.values), _scored(run, points, "test", view.values)]
    yardstick = Yardstick.of([[[c.scores[value] for value in view.values] for c in view.candidates]])
    point = [view.front.reference_point[value] for value in view.values]
    measures: list[tuple[str, str, Statistic, float | None]] = [
        ("hypervolume", "what the front dominates, from the reference point", lambda s: hypervolume(s, point), 0.0),
        (
            "expected utility",
            "of the best candidate for preference weights drawn at random, scores scaled to 0 to 1",
            lambda s: expected_utility(yardstick.scale(s), draws=_WEIGHTS),
            -np.inf,
        ),
        ("spread", "diagonal of the front's box, scores scaled to 0 to 1", lambda s: spread(yardstick.scale(s)), None),
        ("front points", "candidates that no other one dominates", lambda s: float(n_front_points(s)), None),
    ]
    return [
        IndicatorRow(name, meaning, *(_measured(scored, measure, at_least) for scored in splits))
        for name, meaning, measure, at_least in measures
    ]


def _measured(scored: ScorePosterior | None, measure: Statistic, at_least: float | None) -> Interval | float | None:
    """The measure with its interval; the plain number where `at_least`, the least possible value, is None."""
    if scored is None:
        return None
    return measure(scored.scores) if at_least is None else interval([scored.estimate(measure)], at_least=at_least)


def _scored(
    run: RunFiles, candidates: Mapping[str, Candidate], split: str, values: Sequence[str]
) -> ScorePosterior | None:
    """The true scores of candidates, from the prompts that all of them share; None if these are fewer than two."""
    rewards = prompt_rewards(run, list(candidates), split, values)
    if rewards is None:
        return None
    near = near_front(rewards.mean(axis=1), MOST_SCORES // len(values))
    return ScorePosterior.of(coordinates(list(candidates.values()))[near], rewards[near])
