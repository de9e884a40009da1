"""A run's own front in a few numbers, with how sure they are: indicators and their intervals over prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mva.analysis.front_view import FrontView
from mva.pareto.bootstrap import Bootstrap, Interval
from mva.pareto.hypervolume import hypervolume
from mva.pareto.indicators import Yardstick, expected_utility, n_front_points, spread
from mva.runs.run_folder import RunFiles, answers

DRAWS = 300
_WEIGHTS = 512


@dataclass(frozen=True)
class IndicatorRow:
    """An indicator of all candidates on validation prompts, and of the front's on held-out prompts (None: unknown)."""

    name: str
    meaning: str
    validation: Interval | None
    held_out: Interval | None


def indicator_rows(run: RunFiles, view: FrontView, *, bootstrap: Bootstrap | None = None) -> list[IndicatorRow]:
    """Measure the run's front by what makes sense of one front alone.

    Hypervolume is in the rewards' own units, from the front's reference point. Expected utility and spread are on
    scores scaled to the range of all candidates on validation prompts (0 worst, 1 best), also for held-out prompts.
    On validation prompts all candidates are drawn anew, so that the interval knows that the front was picked from them.
    """
    bootstrap = bootstrap or Bootstrap(draws=DRAWS)
    validation = _rewards(run, [c.id for c in view.candidates], "validation", view.values)
    held_out = _rewards(run, [point.id for point in view.front.points], "test", view.values)
    yardstick = Yardstick.of([[[c.scores[value] for value in view.values] for c in view.candidates]])
    point = [view.front.reference_point[value] for value in view.values]
    measures: list[tuple[str, str, Callable[[ArrayLike], float]]] = [
        ("hypervolume", "what the front dominates, from the reference point", lambda s: hypervolume(s, point)),
        (
            "expected utility",
            "of the best candidate for preference weights drawn at random, scores scaled to 0 to 1",
            lambda s: expected_utility(yardstick.scale(s), draws=_WEIGHTS),
        ),
        ("spread", "diagonal of the front's box, scores scaled to 0 to 1", lambda s: spread(yardstick.scale(s))),
        ("front points", "candidates that no other one dominates", lambda s: float(n_front_points(s))),
    ]
    return [
        IndicatorRow(
            name,
            meaning,
            *(None if rewards is None else bootstrap.interval([rewards], one) for rewards in (validation, held_out)),
        )
        for name, meaning, one in measures
    ]


def _rewards(run: RunFiles, ids: Sequence[str], split: str, values: Sequence[str]) -> NDArray[np.float64] | None:
    """Rewards of candidates on the prompts that all of them answered; None if these are fewer than two.

    Shape: `(n_candidates, n_prompts, n_values)`.
    """
    rows = answers(run, ids, split)
    if not rows or len(rows[0]) < 2:
        return None
    return np.array([[[line["rewards"][value] for value in values] for line in row] for row in rows])
