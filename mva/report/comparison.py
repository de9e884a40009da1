"""Methods side by side on held-out prompts: indicators with intervals, and which differences are real.

A method is a group of runs that differ in their seed alone. What is compared are the fronts that the runs hand over,
re-scored on held-out prompts; all runs must share rewards and prompts, or their numbers would not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from mva.pareto.bootstrap import Bootstrap, Difference, Interval
from mva.pareto.indicators import Yardstick
from mva.report.run_files import RunFiles

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000", "#9a9a9a", "#7b4173")
MARKERS = "osD^vPX*<>"


class NotComparable(ValueError):
    """Runs whose scores do not mean the same."""


@dataclass(frozen=True)
class Row:
    """One method: every indicator with its interval, and its difference from the first method (None for that one).

    `pairs` and `seconds` are what training the vectors of one run costs on average: pairs through forward and backward,
    also where the vectors were found in the store. `fronts` are the runs' held-out front scores. Shape: `(n_points,
    n_values)` each.
    """

    label: str
    n_seeds: int
    pairs: float
    seconds: float
    indicators: Mapping[str, Interval]
    differences: Mapping[str, Difference] | None
    fronts: Sequence[NDArray[np.float64]]


@dataclass(frozen=True)
class Comparison:
    """Methods on one yardstick: scores scaled to the range of all fronts, one reference point, one joint front."""

    values: tuple[str, ...]
    rows: tuple[Row, ...]
    better: Mapping[str, str]
    n_prompts: int


def compare(groups: Mapping[str, Sequence[RunFiles]], *, bootstrap: Bootstrap | None = None) -> Comparison:
    """Compare groups of runs by label; the first one is what the others are held against, seed by seed.

    Raises:
        NotComparable: If a run has no front on held-out prompts, or runs differ in rewards or prompts.
    """
    bootstrap = bootstrap or Bootstrap()
    groups = {label: sorted(group, key=seed_of) for label, group in groups.items()}
    runs = [run for group in groups.values() for run in group]
    prompts, values = shared_prompts(runs), _values(runs)
    rewards = {label: [held_out_rewards(run, prompts, values) for run in group] for label, group in groups.items()}
    scores = {label: [array.mean(axis=1) for array in arrays] for label, arrays in rewards.items()}
    yardstick = Yardstick.of([array for arrays in scores.values() for array in arrays])
    measures = {one.name: one.measure for one in yardstick.indicators()}
    first = next(iter(rewards))

    def differences(label: str) -> dict[str, Difference] | None:
        if label == first or [*map(seed_of, groups[label])] != [*map(seed_of, groups[first])]:
            return None
        return {name: bootstrap.difference(rewards[label], rewards[first], m) for name, m in measures.items()}

    rows = tuple(
        Row(
            label,
            len(arrays),
            _cost(groups[label], "pairs"),
            _cost(groups[label], "seconds"),
            {name: bootstrap.interval(arrays, measure) for name, measure in measures.items()},
            differences(label),
            scores[label],
        )
        for label, arrays in rewards.items()
    )
    better = {one.name: one.better for one in yardstick.indicators()}
    return Comparison(values, rows, better, len(prompts))


def seed_of(run: RunFiles) -> int:
    """The run's seed (0 if it was not recorded): runs are put in its order, differences between groups paired by it."""
    return int(run.environment.get("seed", 0))


def held_out_rewards(
    run: RunFiles, prompts: Sequence[str], values: Sequence[str], candidates: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Per-prompt rewards of the front's candidates, or of those named. Shape: `(n_points, n_prompts, n_values)`."""
    assert run.front is not None
    ids = [point.id for point in run.front.points] if candidates is None else candidates
    lines = {(g["id"], g["prompt_id"]): g["rewards"] for g in run.generations if g["split"] == "test"}
    return np.array([[[lines[one, prompt][value] for value in values] for prompt in prompts] for one in ids])


def comparison_table(comparison: Comparison) -> Table:
    """Lay the comparison out for the terminal."""
    table = Table(
        title=f"Fronts on {comparison.n_prompts} held-out prompts, scores scaled to the joint range; 95 % intervals",
        title_justify="left",
    )
    table.add_column("method")
    table.add_column("seeds", justify="right")
    table.add_column("training\n(pairs, seconds)", justify="right")
    for name, better in comparison.better.items():
        table.add_column(escape(name) if better == "neither" else f"{escape(name)}\n({better} is better)")
    table.add_column("hypervolume against the first")
    for row in comparison.rows:
        cells = [f"{i.estimate:.3g} ({i.low:.3g} to {i.high:.3g})" for i in row.indicators.values()]
        cost = f"{row.pairs:.0f}, {row.seconds:.0f}"
        table.add_row(escape(row.label), str(row.n_seeds), cost, *cells, _difference(row))
    return table


def draw_comparison(comparison: Comparison) -> Figure:
    """Draw all held-out front points by the first two values, one colour and marker a method."""
    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    axes = figure.subplots()
    x, y = 0, min(1, len(comparison.values) - 1)
    for number, row in enumerate(comparison.rows):
        points = np.concatenate(list(row.fronts))
        # As many colours as markers: from the second round on they are paired anew.
        again, place = divmod(number, len(PALETTE))
        colour, marker = PALETTE[place], MARKERS[(place + again) % len(MARKERS)]
        axes.scatter(points[:, x], points[:, y], s=36, alpha=0.85, label=row.label, color=colour, marker=marker)
    axes.set(xlabel=f"{comparison.values[x]} score, held out", ylabel=f"{comparison.values[y]} score, held out")
    axes.grid(alpha=0.25)
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    return figure


def _cost(runs: Sequence[RunFiles], what: str) -> float:
    """Average over the runs what their vectors cost; NaN where that was not written down."""
    costs = [[vector["cost"] for vector in run.training.get("vectors", {}).values()] for run in runs]
    return float(np.mean([sum(one[what] for one in some) if some and all(some) else np.nan for some in costs]))


def _difference(row: Row) -> str:
    if row.differences is None:
        return "-"
    found = row.differences["hypervolume"]
    interval = found.interval
    return f"{interval.estimate:+.3g} ({interval.low:.3g} to {interval.high:.3g}): {found.verdict}"


def _values(runs: Sequence[RunFiles]) -> tuple[str, ...]:
    """One order of the values for all runs, who may each have their own."""
    assert runs[0].front is not None
    return runs[0].front.values


def shared_prompts(runs: Iterable[RunFiles]) -> list[str]:
    """List the held-out prompts that all runs answered.

    Raises:
        NotComparable: If a run has no front on held-out prompts, or runs differ in rewards or prompts.
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
    return sorted(next(iter(prompts)))
