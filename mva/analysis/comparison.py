"""Groups of runs side by side on held-out prompts: indicators with intervals, and which differences are real.

A group (a method, a setting of a sweep) is runs that differ in their seed alone. What is compared are the fronts that
the runs hand over, re-scored on held-out prompts; all runs must share rewards and prompts, or their numbers would not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mva.analysis.held_out import NotComparable, check_comparable, held_out_rewards
from mva.analysis.sweep_view import JobFront, JointFront
from mva.extrapolation.candidate import Candidate, coordinates
from mva.pareto.front import SMALLEST_DIFFERENCE
from mva.pareto.hypervolume import hypervolume
from mva.pareto.indicators import Indicator, Yardstick
from mva.runs.run_folder import RunFiles
from mva.statistics.comparison import Difference, differences
from mva.statistics.estimate import Estimate, Interval, interval
from mva.statistics.posterior import ScorePosterior

Scores = NDArray[np.float64]
Indicators = Callable[[Sequence[str], Sequence[Scores]], Sequence[Indicator]]


@dataclass(frozen=True)
class Row:
    """A group: every indicator, and the differences from the first group of those that have an interval.

    An indicator is a plain number, the mean over the runs, where no valid interval is known. `differences` is None for
    the first group, and for one with other seeds. `pairs` and `seconds` are what training the
    vectors of a run costs on average: pairs through forward and backward, also where the vectors were found in the
    store. `fronts` are the runs' held-out front scores. Shape: `(n_points, n_values)` each.
    """

    label: str
    n_seeds: int
    pairs: float
    seconds: float
    indicators: Mapping[str, Interval | float]
    differences: Mapping[str, Difference] | None
    fronts: Sequence[Scores]


@dataclass(frozen=True)
class Comparison:
    """Groups by the same indicators; `better` says of each which way is up.

    Differences below `smallest_difference`, a share of the first group's indicator, do not matter.
    """

    values: tuple[str, ...]
    rows: tuple[Row, ...]
    better: Mapping[str, str]
    n_prompts: int
    smallest_difference: float


@dataclass(frozen=True)
class SettingRow:
    """A setting of a sweep: its jobs (one a seed), and their mean hypervolume from the common reference point.

    `held_out` is that of their fronts on held-out prompts, with an interval over prompts and seeds; None where that is
    not known. `difference` is held out, too, and paired by seed, from the sweep's first setting: None for that
    one, and for a setting with other seeds.
    """

    label: str
    jobs: Sequence[JobFront]
    hypervolume: float
    held_out: Interval | None
    difference: Difference | None


def on_one_yardstick(_values: Sequence[str], scores: Sequence[Scores]) -> Sequence[Indicator]:
    """Measure by all indicators: scores scaled to the range of all fronts, one reference point, one joint front."""
    return Yardstick.of(scores).indicators()


def compare(groups: Mapping[str, Sequence[RunFiles]], *, indicators: Indicators = on_one_yardstick) -> Comparison:
    """Compare groups of runs by label; the first one is what the others are held against, seed by seed.

    `indicators(values, scores)` gives the indicators of scores whose columns are `values`; `scores` are all runs'.

    Raises:
        NotComparable: If a run has no front on held-out prompts, runs differ in rewards or prompts, or there are fewer
            than two prompts.
    """
    groups = {label: sorted(group, key=seed_of) for label, group in groups.items()}
    runs = [run for group in groups.values() for run in group]
    n_prompts = check_comparable(runs)
    values = _values(runs)
    posteriors = {label: [_held_out(run, values) for run in group] for label, group in groups.items()}
    scores = {label: [posterior.scores for posterior in group] for label, group in posteriors.items()}
    chosen = indicators(values, [array for arrays in scores.values() for array in arrays])
    estimates = {
        indicator.name: {
            label: [posterior.estimate(indicator.measure) for posterior in group] for label, group in posteriors.items()
        }
        for indicator in chosen
        if indicator.at_least is not None
    }
    compared = _differences(groups, estimates, smallest=_smallest_difference(runs))
    rows = tuple(
        Row(
            label,
            len(group),
            _cost(group, "pairs"),
            _cost(group, "seconds"),
            {
                indicator.name: float(np.mean([indicator.measure(array) for array in scores[label]]))
                if indicator.at_least is None
                else interval(estimates[indicator.name][label], at_least=indicator.at_least)
                for indicator in chosen
            },
            compared.get(label),
            scores[label],
        )
        for label, group in groups.items()
    )
    better = {indicator.name: indicator.better for indicator in chosen}
    return Comparison(values, rows, better, n_prompts, _smallest_difference(runs))


def _differences(
    groups: Mapping[str, Sequence[RunFiles]],
    estimates: Mapping[str, Mapping[str, Sequence[Estimate]]],
    *,
    smallest: float,
) -> dict[str, dict[str, Difference]]:
    """By label and indicator, of the groups that have the first one's seeds."""
    first = next(iter(groups))
    paired = [label for label in groups if label != first and _seeds(groups[label]) == _seeds(groups[first])]
    compared: dict[str, dict[str, Difference]] = {label: {} for label in paired}
    for name, by_label in estimates.items():
        matters = smallest * abs(float(np.mean([estimate.value for estimate in by_label[first]])))
        judged = differences([by_label[label] for label in paired], by_label[first], smallest_difference=matters)
        for label, difference in zip(paired, judged, strict=True):
            compared[label][name] = difference
    return compared


def _held_out(run: RunFiles, values: Sequence[str]) -> ScorePosterior:
    assert run.front is not None
    members = [Candidate(point.coefficients, point.composition) for point in run.front.points]
    return ScorePosterior.of(coordinates(members), held_out_rewards(run, values))


def _seeds(runs: Sequence[RunFiles]) -> list[int]:
    return [seed_of(run) for run in runs]


def _smallest_difference(runs: Sequence[RunFiles]) -> float:
    """What matters to the user: the largest of the runs' own numbers."""
    return max((run.front.smallest_difference for run in runs if run.front is not None), default=SMALLEST_DIFFERENCE)


@lru_cache(maxsize=16)
def setting_rows(front: JointFront) -> tuple[SettingRow, ...]:
    """Measure every setting of a joint front, in the order of the sweep; none where there is nothing to compare.

    That is where there is one job, or where every job scored one candidate: then the jobs are points of one front.
    """
    if len(front.jobs) < 2 or front.of_single_candidates:
        return ()

    def from_the_common_point(values: Sequence[str], _scores: Sequence[Scores]) -> Sequence[Indicator]:
        point = [front.reference_point[value] for value in values]

        def measure(scores: ArrayLike) -> float:
            return hypervolume(scores, point)

        return [Indicator("hypervolume", "higher", measure, at_least=0.0)]

    settings = {label: sorted(jobs, key=lambda one: seed_of(one.run)) for label, jobs in front.settings.items()}
    groups = {label: [one.run for one in jobs] for label, jobs in settings.items()}
    try:
        compared = compare(groups, indicators=from_the_common_point)
    except NotComparable:
        compared = None
    rows = {} if compared is None else {row.label: row for row in compared.rows}
    return tuple(_setting_row(label, jobs, rows.get(label)) for label, jobs in settings.items())


def _setting_row(label: str, jobs: Sequence[JobFront], row: Row | None) -> SettingRow:
    held_out = None if row is None else row.indicators["hypervolume"]
    return SettingRow(
        label=label or "all jobs",
        jobs=jobs,
        hypervolume=float(np.mean([one.hypervolume for one in jobs])),
        held_out=held_out if isinstance(held_out, Interval) else None,
        difference=None if row is None or row.differences is None else row.differences["hypervolume"],
    )


def seed_of(run: RunFiles) -> int:
    """The run's seed (0 if it was not recorded): runs are put in its order, differences between groups paired by it."""
    return int(run.environment.get("seed", 0))


def _cost(runs: Sequence[RunFiles], what: str) -> float:
    """Average over the runs what their vectors cost; NaN where that was not written down."""
    costs = [[vector["cost"] for vector in run.training.get("vectors", {}).values()] for run in runs]
    return float(np.mean([sum(one[what] for one in some) if some and all(some) else np.nan for some in costs]))


def _values(runs: Sequence[RunFiles]) -> tuple[str, ...]:
    """One order of the values for all runs, who may each have their own."""
    assert runs[0].front is not None
    return runs[0].front.values
