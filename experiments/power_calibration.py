"""Do the numbers that mva-power and the verdicts promise deliver their 80 %?

    python experiments/power_calibration.py --write                 # the simulated table of docs/statistics.md
    python experiments/power_calibration.py --runs FOLDER FOLDER    # two real runs with the same many prompts

A pilot is measured, the prompts or seeds are read off it that tell a known true difference with 80 %, and a new
measurement of that size is made: how often does its interval lie on the right side of 0? Of real runs their prompts are
taken as all there are: pilots and new measurements are drawn from them, so that the true difference is known.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from simulated_tables import WORLDS, Floats, Setting, table, true_fronts

from mva.pareto.hypervolume import hypervolume
from mva.runs.run_folder import RunFiles, read_run
from mva.statistics.comparison import pooled
from mva.statistics.estimate import Estimate, Variance, interval, mean_estimate, variance_of
from mva.statistics.posterior import ScorePosterior
from mva.statistics.power import POWER, least, needs, power_of

DOCS = Path(__file__).parents[1] / "docs" / "statistics.md"
BEGIN, END = "<!-- simulated by experiments/power_calibration.py -->", "<!-- end of power -->"
REFERENCE = -1.0
MOST_SEEDS, MOST_PROMPTS = 40, 2000
"""Promises above these are counted, not simulated."""
PILOT, DRAWS = 24, 100
SMALLEST = 0.2

Numbers = tuple[int, int]
Choose = Callable[[Variance, float], Numbers | None]


def more_seeds(variance: Variance, difference: float) -> Numbers | None:
    """Today's prompts, and the seeds that are needed."""
    seeds = needs(variance, difference).seeds
    return None if seeds is None or seeds > MOST_SEEDS else (int(variance.n_prompts), seeds)


def more_prompts(variance: Variance, difference: float) -> Numbers | None:
    """Today's seeds, and the prompts that are needed."""
    prompts = needs(variance, difference).prompts
    return None if prompts is None or prompts > MOST_PROMPTS else (prompts, int(variance.n_seeds))


def cheapest(variance: Variance, difference: float) -> Numbers | None:
    """The numbers that cost least, where a seed's training costs as much as 200 prompts."""
    plans: list[tuple[float, Numbers]] = []
    for seeds in range(2, MOST_SEEDS + 1):

        def enough(prompts: int, *, seeds: int = seeds) -> bool:
            return power_of(variance, difference, n_prompts=prompts, n_seeds=seeds) >= POWER

        prompts = least(enough, 10, MOST_PROMPTS)
        if prompts is not None:
            plans.append((seeds * (200 + prompts), (prompts, seeds)))
    return min(plans)[1] if plans else None


@dataclass(frozen=True)
class Row:
    """A row of the table: the pilot, what is chosen, and how many methods the table has (2: a pair)."""

    name: str
    pilot: Setting
    choose: Choose
    n_methods: int = 2


ROWS = (
    Row("pair, 24 prompts, 3 seeds: seeds", Setting("a"), more_seeds),
    Row("pair, 24 prompts, 5 seeds: seeds", Setting("b", n_seeds=5), more_seeds),
    Row("pair, 100 prompts, 3 seeds: seeds", Setting("c", n_prompts=100), more_seeds),
    Row("pair, 24 prompts, 5 seeds: prompts", Setting("d", n_seeds=5), more_prompts),
    Row("pair, 24 prompts, 5 seeds: the cheapest numbers", Setting("e", n_seeds=5), cheapest),
    Row("table of 6, 24 prompts, 3 seeds: seeds", Setting("f"), more_seeds, n_methods=6),
    Row("table of 6, 24 prompts, 3 seeds: the cheapest numbers", Setting("g"), cheapest, n_methods=6),
)
SCORES = (
    ("two candidates' scores, 12 prompts: prompts", 12, 0.5, "normal"),
    ("two candidates' scores, 24 prompts: prompts", 24, 0.4, "normal"),
    ("two candidates' scores, 24 prompts, skewed: prompts", 24, 0.4, "skewed"),
    ("two candidates' scores, 100 prompts: prompts", 100, 0.2, "normal"),
)


@dataclass(frozen=True)
class Delivered:
    """What became of promises: the share that was told, its standard error, median numbers, those out of reach."""

    detected: float
    error: float
    prompts: float
    seeds: float
    out_of_reach: float


def of_fronts(row: Row, repetitions: int) -> Delivered:
    """Promise and deliver for the hypervolumes of two methods' fronts; of a table the last method against the first."""
    setting = replace(row.pilot, n_methods=row.n_methods, n_better=max(1, row.n_methods // 3))
    last = row.n_methods - 1
    truths = [_true_difference(setting, number, last) for number in range(WORLDS)]
    outcomes: list[bool] = []
    numbers: list[Numbers] = []
    for repetition in range(repetitions):
        number, generator = repetition % WORLDS, np.random.default_rng([repetition, 31])
        chosen = row.choose(_variance(_differences(setting, number, generator)), truths[number])
        if chosen is None:
            continue
        larger = replace(setting, n_prompts=chosen[0], n_seeds=chosen[1])
        measured = _differences(larger, number, generator)
        outcomes.append(interval(measured[-1], variance=_variance(measured)).low > 0)
        numbers.append(chosen)
    return _delivered(outcomes, numbers, repetitions)


def _true_difference(setting: Setting, number: int, method: int) -> float:
    means = [
        np.mean([_volume(scores) for scores in true_fronts(setting, number, which, draws=100)]) for which in (method, 0)
    ]
    return float(means[0] - means[1])


def _differences(setting: Setting, number: int, generator: np.random.Generator) -> list[list[Estimate]]:
    """Of each method but the first the differences from it, a seed each."""
    methods = table(setting, number, generator)
    estimates = [
        [ScorePosterior.of(run.coefficients[run.front], run.held_out).estimate(_volume) for run in seeds]
        for seeds in methods
    ]
    return [[mine - theirs for mine, theirs in zip(method, estimates[0], strict=True)] for method in estimates[1:]]


def _volume(scores: Floats) -> float:
    return hypervolume(scores, np.full(scores.shape[1], REFERENCE))


def _variance(differences: Sequence[Sequence[Estimate]]) -> Variance:
    """The last method's, pooled with the others' as in a table."""
    return pooled([variance_of(each) for each in differences])[-1]


def of_scores(n_prompts: int, difference: float, kind: str, *, repetitions: int) -> Delivered:
    """Promise and deliver for two candidates' paired rewards; `difference` is in their standard deviations."""
    outcomes: list[bool] = []
    numbers: list[Numbers] = []
    for repetition in range(repetitions):
        generator = np.random.default_rng([repetition, 32])
        pilot = variance_of([mean_estimate(_noise(kind, n_prompts, generator))])
        chosen = more_prompts(pilot, difference)
        if chosen is not None:
            measured = [mean_estimate(difference + _noise(kind, chosen[0], generator))]
            outcomes.append(interval(measured).low > 0)
            numbers.append(chosen)
    return _delivered(outcomes, numbers, repetitions)


def _noise(kind: str, n_prompts: int, generator: np.random.Generator) -> Floats:
    if kind == "skewed":
        return generator.standard_exponential(n_prompts) - 1
    return generator.standard_normal(n_prompts)


def _delivered(outcomes: Sequence[bool], numbers: Sequence[Numbers], repetitions: int) -> Delivered:
    detected = float(np.mean(outcomes)) if outcomes else float("nan")
    prompts, seeds = np.median(np.array(numbers).reshape(-1, 2), axis=0) if numbers else (np.nan, np.nan)
    error = float(np.sqrt(detected * (1 - detected) / max(len(outcomes), 1)))
    return Delivered(detected, error, float(prompts), float(seeds), 1 - len(outcomes) / repetitions)


def markdown(repetitions: int, names: Sequence[str] | None) -> str:
    """The table of docs/statistics.md."""
    lines = [
        "| measured: what is promised | delivered (promised 80 %) | prompts, seeds (median) | out of reach |",
        "|---" * 4 + "|",
    ]
    makers: list[tuple[str, Callable[[], Delivered]]] = [
        (name, partial(of_scores, n, difference, kind, repetitions=5 * repetitions))
        for name, n, difference, kind in SCORES
    ]
    makers += [(row.name, partial(of_fronts, row, repetitions)) for row in ROWS]
    for name, make in makers:
        if names is None or name in names:
            row = make()
            cells = [name, f"{row.detected:.0%} ± {100 * row.error:.0f}", f"{row.prompts:.0f}, {row.seeds:.0f}"]
            lines.append("| " + " | ".join([*cells, f"{row.out_of_reach:.0%}"]) + " |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def of_runs(first: RunFiles, second: RunFiles) -> list[tuple[str, float, Delivered]]:
    """Promise and deliver on two real runs' rewards, for the candidates and prompts that both have.

    Every value's difference between the runs at a candidate is taken where its size is at least a fifth of its standard
    deviation: smaller ones need more prompts than can be drawn.

    Returns:
        What differs, the true difference in standard deviations, and what was delivered.
    """
    assert first.front is not None
    ours, theirs = _rewards(first), _rewards(second)
    rows = []
    for identifier in sorted(ours.keys() & theirs.keys()):
        shared = sorted(ours[identifier].keys() & theirs[identifier].keys())
        for value in first.front.values:
            pairs = [(ours[identifier][prompt][value], theirs[identifier][prompt][value]) for prompt in shared]
            difference = np.array([mine - other for mine, other in pairs])
            size = float(difference.mean() / (difference.std() or 1.0))
            if abs(size) >= SMALLEST:
                rows.append((f"{value} of {identifier}", size, _drawn(difference)))
    return rows


def _rewards(run: RunFiles) -> dict[str, dict[str, dict[str, float]]]:
    """Rewards on validation prompts by candidate, prompt and value."""
    rewards: dict[str, dict[str, dict[str, float]]] = {}
    for line in run.generations:
        if line["split"] == "validation":
            rewards.setdefault(line["id"], {})[line["prompt_id"]] = line["rewards"]
    return rewards


def _drawn(difference: Floats) -> Delivered:
    outcomes: list[bool] = []
    numbers: list[Numbers] = []
    sign = float(np.sign(difference.mean()))
    for draw in range(DRAWS):
        generator = np.random.default_rng([draw, 33])
        pilot = variance_of([mean_estimate(generator.choice(difference, PILOT))])
        chosen = more_prompts(pilot, abs(float(difference.mean())))
        if chosen is not None:
            measured = interval([mean_estimate(sign * generator.choice(difference, chosen[0]))])
            outcomes.append(measured.low > 0)
            numbers.append(chosen)
    return _delivered(outcomes, numbers, DRAWS)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200, help="pilots a row of fronts; scores have five times")
    parser.add_argument("--only", nargs="+", help="names of rows")
    parser.add_argument("--write", action="store_true", help="into docs/statistics.md")
    parser.add_argument("--runs", type=Path, nargs=2, help="two finished runs, in place of simulated tables")
    options = parser.parse_args()
    if options.runs:
        rows = of_runs(*map(read_run, options.runs))
        for name, size, row in rows:
            delivered = f"{row.detected:.0%} ± {100 * row.error:.0f}"
            print(f"{name}: {size:+.2f} sd, {delivered}, {row.prompts:.0f} prompts (median)")
        print(f"mean of {len(rows)}: {np.mean([row.detected for _, _, row in rows]):.0%}")
        return
    text = markdown(options.repetitions, options.only)
    if options.write:
        before, _, rest = DOCS.read_text().partition(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
