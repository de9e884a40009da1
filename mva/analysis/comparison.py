"""Groups of runs side by side on held-out prompts: indicators with intervals, and which differences are real.

A group (a method, a setting of a sweep) is runs that differ in their seed alone. What is compared are the fronts that
the runs hand over, re-scored on held-out prompts; all runs must share rewards and prompts, or their numbers would not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mva.analysis.sweep_view import JobFront, JointFront
from mva.pareto.bootstrap import Bootstrap, Difference, Interval
from mva.pareto.hypervolume import hypervolume
from mva.pareto.indicators import Indicator, Yardstick
from mva.runs.run_folder import RunFiles

Scores = NDArray[np.float64]
Indicators = Callable[[Sequence[str], Sequence[Scores]], Sequence[Indicator]]
DRAWS = 300
"""Of a sweep's settings, which are measured whenever a multirun ends."""


class NotComparable(ValueError):
    """Runs whose scores do not mean the same."""


@dataclass(frozen=True)
class Row:
    """A group: every indicator with its interval, and its difference from the first group.

    `differences` is None for the first group, and for one with other seeds. `pairs` and `seconds` are what training the
    vectors of a run costs on average: pairs through forward and backward, also where the vectors were found in the
    store. `fronts` are the runs' held-out front scores. Shape: `(n_points, n_values)` each.
    """

    label: str
    n_seeds: int
    pairs: float
    seconds: float
    indicators: Mapping[str, Interval]
    differences: Mapping[str, Difference] | None
    fronts: Sequence[Scores]


@dataclass(frozen=True)
class Comparison:
    """Groups by the same indicators; `better` says of each which way is up."""

    values: tuple[str, ...]
    rows: tuple[Row, ...]
    better: Mapping[str, str]
    n_prompts: int


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


def compare(
    groups: Mapping[str, Sequence[RunFiles]],
    *,
    indicators: Indicators = on_one_yardstick,
    bootstrap: Bootstrap | None = None,
) -> Comparison:
    """Compare groups of runs by label; the first one is what the others are held against, seed by seed.

    `indicators(values, scores)` gives the indicators of scores whose columns are `values`; `scores` are all runs'.

    Raises:
        NotComparable: If a run has no front on held-out prompts, runs differ in rewards or prompts, or there are fewer
            than two prompts.
    """
    bootstrap = bootstrap or Bootstrap()
    groups = {label: sorted(group, key=seed_of) for label, group in groups.items()}
    runs = [run for group in groups.values() for run in group]
    prompts, values = shared_prompts(runs), _values(runs)
    rewards = {label: [held_out_rewards(run, prompts, values) for run in group] for label, group in groups.items()}
    scores = {label: [array.mean(axis=1) for array in arrays] for label, arrays in rewards.items()}
    chosen = indicators(values, [array for arrays in scores.values() for array in arrays])
    first = next(iter(rewards))

    def differences(label: str) -> dict[str, Difference] | None:
        if label == first or [*map(seed_of, groups[label])] != [*map(seed_of, groups[first])]:
            return None
        return {one.name: bootstrap.difference(rewards[label], rewards[first], one.measure) for one in chosen}

    rows = tuple(
        Row(
            label,
            len(arrays),
            _cost(groups[label], "pairs"),
            _cost(groups[label], "seconds"),
            {one.name: bootstrap.interval(arrays, one.measure) for one in chosen},
            differences(label),
            scores[label],
        )
        for label, arrays in rewards.items()
    )
    return Comparison(values, rows, {one.name: one.better for one in chosen}, len(prompts))


def setting_rows(front: JointFront, *, bootstrap: Bootstrap | None = None) -> list[SettingRow]:
    """Measure every setting of a joint front, in the order of the sweep; none where there is nothing to compare.

    That is where there is one job, or where every job scored one candidate: then the jobs are points of one front.
    """
    if len(front.jobs) < 2 or front.of_single_candidates:
        return []

    def from_the_common_point(values: Sequence[str], _scores: Sequence[Scores]) -> Sequence[Indicator]:
        point = [front.reference_point[value] for value in values]

        def measure(scores: ArrayLike) -> float:
            return hypervolume(scores, point)

        return [Indicator("hypervolume", "higher", measure)]

    settings = {label: sorted(jobs, key=lambda one: seed_of(one.run)) for label, jobs in front.settings.items()}
    groups = {label: [one.run for one in jobs] for label, jobs in settings.items()}
    try:
        compared = compare(groups, indicators=from_the_common_point, bootstrap=bootstrap or Bootstrap(draws=DRAWS))
    except NotComparable:
        compared = None
    rows = {} if compared is None else {row.label: row for row in compared.rows}
    return [_setting_row(label, jobs, rows.get(label)) for label, jobs in settings.items()]


def _setting_row(label: str, jobs: Sequence[JobFront], row: Row | None) -> SettingRow:
    return SettingRow(
        label=label or "all jobs",
        jobs=jobs,
        hypervolume=float(np.mean([one.hypervolume for one in jobs])),
        held_out=None if row is None else row.indicators["hypervolume"],
        difference=None if row is None or row.differences is None else row.differences["hypervolume"],
    )


def seed_of(run: RunFiles) -> int:
    """The run's seed (0 if it was not recorded): runs are put in its order, differences between groups paired by it."""
    return int(run.environment.get("seed", 0))


def held_out_rewards(
    run: RunFiles, prompts: Sequence[str], values: Sequence[str], candidates: Sequence[str] | None = None
) -> Scores:
    """Per-prompt rewards of the front's candidates, or of those named. Shape: `(n_points, n_prompts, n_values)`."""
    assert run.front is not None
    ids = [point.id for point in run.front.points] if candidates is None else candidates
    lines = {(g["id"], g["prompt_id"]): g["rewards"] for g in run.generations if g["split"] == "test"}
    return np.array([[[lines[one, prompt][value] for value in values] for prompt in prompts] for one in ids])


def shared_prompts(runs: Iterable[RunFiles]) -> list[str]:
    """List the held-out prompts that all runs answered.

    Raises:
        NotComparable: If a run has no front on held-out prompts, runs differ in rewards or prompts, or there are fewer
            than two prompts.
    """
    keys, prompts = set(), set()
    for run in runs:
        if run.front is None or any(point.scores_held_out is None for point in run.front.points):
            raise NotComparable(f"{run.folder} has no front on held-out prompts: run it again to go on.")
        keys.add(tuple(sorted((value, reward["key"]) for value, reward in run.rewards.items())))
        prompts.add(frozenset(g["prompt_id"] for g in run.generations if g["split"] == "test"))
    if len(keys) != 1 or len(prompts) != 1:
        what = "rewards" if len(keys) != 1 else "held-out prompts"
        raise NotComparable(
            f"The runs were scored by different {what}: compare runs of one data, model and evaluation."
        )
    (shared,) = prompts
    if len(shared) < 2:
        raise NotComparable("The runs have fewer than two held-out prompts: raise evaluation.n_test_prompts.")
    return sorted(shared)


def _cost(runs: Sequence[RunFiles], what: str) -> float:
    """Average over the runs what their vectors cost; NaN where that was not written down."""
    costs = [[vector["cost"] for vector in run.training.get("vectors", {}).values()] for run in runs]
    return float(np.mean([sum(one[what] for one in some) if some and all(some) else np.nan for some in costs]))


def _values(runs: Sequence[RunFiles]) -> tuple[str, ...]:
    """One order of the values for all runs, who may each have their own."""
    assert runs[0].front is not None
    return runs[0].front.values
