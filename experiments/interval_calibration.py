"""Are the intervals, probabilities and verdicts true? Simulated tables with known truth, through mva's own functions.

    python experiments/interval_calibration.py --write                     # the tables of docs/statistics.md
    python experiments/interval_calibration.py --tables 40 --only base "12 prompts"

A table has six methods; four are equal and two better than the first. What is counted: how often an interval covers the
truth (a run's hypervolume on held-out prompts; its mean over seeds; a paired difference), how often equal methods are
called different, and better ones are told, beside what an interval with the true standard error tells; the bias of the
held-out hypervolume, raw and corrected; and, of the probability of being on the front, the widest gap between said and
true in five bins, and the Brier score as a share of that of independent noise added to the scores.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from simulated_tables import WORLDS, Floats, Run, Setting, table, true_fronts

from mva.pareto.dominance import non_dominated
from mva.pareto.hypervolume import hypervolume
from mva.statistics.comparison import Difference, differences
from mva.statistics.estimate import Estimate, interval
from mva.statistics.membership import membership
from mva.statistics.posterior import ScorePosterior
from mva.statistics.rewards import by_cluster

DOCS = Path(__file__).parents[1] / "docs" / "statistics.md"
SETTINGS = (
    Setting("24 prompts, 3 seeds, 25 candidates, 2 values"),
    Setting("1 seed", n_seeds=1),
    Setting("5 seeds", n_seeds=5),
    Setting("8 seeds", n_seeds=8),
    Setting("12 prompts", n_prompts=12),
    Setting("12 prompts, 5 seeds", n_prompts=12, n_seeds=5),
    Setting("40 prompts", n_prompts=40),
    Setting("100 prompts", n_prompts=100),
    Setting("500 prompts", n_prompts=500),
    Setting("9 candidates", levels=(3,)),
    Setting("121 candidates", levels=(11,)),
    Setting("25 candidates against 9", levels=(5, 3)),
    Setting("9 candidates against 25", levels=(3, 5)),
    Setting("3 values, 27 candidates", n_values=3, levels=(3,)),
    Setting("3 values, 125 candidates", n_values=3),
    Setting("5 values, 32 candidates", n_values=5, levels=(2,)),
    Setting("skewed", kind="skewed"),
    Setting("skewed, 12 prompts", kind="skewed", n_prompts=12),
    Setting("heavy tails", kind="heavy"),
    Setting("nearly tied candidates", scale=0.2),
    Setting("low noise", noise=0.25),
    Setting("clusters of 3 prompts", cluster=3, n_prompts=72),
    Setting("own effects of a method", own=0.3),
    Setting("own effects, 100 prompts, 5 seeds", own=0.3, n_prompts=100, n_seeds=5),
    Setting("4 samples a prompt", samples=4),
)
ONE_SEED = tuple(setting.name for setting in SETTINGS if setting.n_seeds == 1)
BINS = np.linspace(0, 1, 6)
FEWEST = 30
"""Candidates in a bin, below which it says nothing."""
REFERENCE = -1.0
BEGIN, END = "<!-- simulated by experiments/interval_calibration.py -->", "<!-- end -->"


@dataclass
class Tally:
    """What the tables of a setting gave, row by row."""

    runs: list[tuple[float, ...]] = field(default_factory=list)
    means: list[tuple[float, ...]] = field(default_factory=list)
    pairs: dict[str, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))
    table: dict[str, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))
    claimed: list[Floats] = field(default_factory=list)
    noisy: list[Floats] = field(default_factory=list)
    true: list[Floats] = field(default_factory=list)


def simulate(setting: Setting, n_tables: int) -> Tally:
    """Simulate tables and put them through the product's functions."""
    tally, point = Tally(), np.full(setting.n_values, REFERENCE)
    truths = [
        [
            float(np.mean([hypervolume(scores, point) for scores in true_fronts(setting, number, method)]))
            for method in range(setting.n_methods)
        ]
        for number in range(WORLDS)
    ]
    for repetition in range(n_tables):
        number = repetition % WORLDS
        generator = np.random.default_rng([repetition, 11])
        methods = table(setting, number, generator)
        estimates = [[_estimate(setting, run, point, repetition) for run in seeds] for seeds in methods]
        for method, (seeds, measured) in enumerate(zip(methods, estimates, strict=True)):
            tally.runs += [_run_row(run, estimate, point) for run, estimate in zip(seeds, measured, strict=True)]
            mean = interval(measured, at_least=0)
            tally.means.append((mean.low, mean.high, truths[number][method]))
        _compare(tally, setting, estimates, truths[number], methods, point)
        _memberships(tally, setting, methods[0][0], generator)
    return tally


def _estimate(setting: Setting, run: Run, point: Floats, seed: int) -> Estimate:
    rewards = run.held_out
    if setting.cluster > 1:
        rewards = by_cluster(rewards, [str(p // setting.cluster) for p in range(setting.n_prompts)])
    posterior = ScorePosterior.of(run.coefficients[run.front], rewards, seed=seed)
    return posterior.estimate(lambda scores: hypervolume(scores, point))


def _run_row(run: Run, estimate: Estimate, point: Floats) -> tuple[float, ...]:
    bounds = interval([estimate], at_least=0)
    return bounds.low, bounds.high, hypervolume(run.truth[run.front], point), estimate.value, estimate.raw


def _compare(
    tally: Tally,
    setting: Setting,
    estimates: Sequence[Sequence[Estimate]],
    truths: Sequence[float],
    methods: Sequence[Sequence[Run]],
    point: Floats,
) -> None:
    """Compare with the first method: all others as a table, and one of each kind as a pair."""

    def row(difference: Difference, method: int) -> tuple[float, ...]:
        bounds = difference.interval
        truth = truths[method] - truths[0]
        if setting.n_seeds == 1:  # one seed speaks of its vectors
            volumes = [hypervolume(methods[m][0].truth[methods[m][0].front], point) for m in (method, 0)]
            truth = volumes[0] - volumes[1]
        return bounds.low, bounds.high, truth, bounds.estimate

    first, others = estimates[0], estimates[1:]
    n_equal = setting.n_methods - setting.n_better
    for method, difference in enumerate(differences(others, first, smallest_difference=0), start=1):
        tally.table["equal" if method < n_equal else "better"].append(row(difference, method))
    for kind, method in (("equal", 1), ("better", setting.n_methods - 1)):
        (pair,) = differences([estimates[method]], first, smallest_difference=0)
        tally.pairs[kind].append(row(pair, method))


def _memberships(tally: Tally, setting: Setting, run: Run, generator: np.random.Generator) -> None:
    rewards = run.validation
    if setting.cluster > 1:
        rewards = by_cluster(rewards, [str(p // setting.cluster) for p in range(setting.n_prompts)])
    tally.claimed.append(membership(run.coefficients, rewards))
    scores = rewards.mean(axis=1)
    errors = rewards.std(axis=1, ddof=1) / rewards.shape[1] ** 0.5
    draws = scores + errors * generator.standard_normal((200, *scores.shape))
    tally.noisy.append(np.mean([non_dominated(drawn) for drawn in draws], axis=0))
    tally.true.append(non_dominated(run.truth).astype(float))


def summary(tally: Tally) -> dict[str, float]:
    """The shares and biases that the table shows."""
    low, high, truth, value, raw = np.array(tally.runs).T
    mean_low, mean_high, mean_truth = np.array(tally.means).T
    claimed, noisy, true = map(np.concatenate, (tally.claimed, tally.noisy, tally.true))
    bins = np.clip(np.digitize(claimed, BINS) - 1, 0, len(BINS) - 2)
    filled = [number for number in range(len(BINS) - 1) if (bins == number).sum() >= FEWEST]
    result = {
        "run covers": _covers(low, high, truth),
        "mean covers": _covers(mean_low, mean_high, mean_truth),
        "bias, raw": float((raw - truth).mean() / truth.mean()),
        "bias": float((value - truth).mean() / truth.mean()),
        "gap": max(
            (abs(float(claimed[bins == number].mean() - true[bins == number].mean())) for number in filled),
            default=float("nan"),
        ),
        "Brier": float(((claimed - true) ** 2).mean() / ((noisy - true) ** 2).mean()),
    }
    for name, rows in (("pair", tally.pairs), ("table", tally.table)):
        for kind in ("equal", "better"):
            low, high, truth, value = np.array(rows[kind]).T
            result[f"{name}, {kind}: covers"] = _covers(low, high, truth)
            result[f"{name}, {kind}: told"] = float(((low > 0) | (high < 0)).mean())
            result[f"{name}, {kind}: ideal"] = float((abs(value) > 1.96 * (value - truth).std()).mean())
    return result


def _covers(low: Floats, high: Floats, truth: Floats) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


def markdown(rows: Mapping[str, Mapping[str, float]]) -> str:
    """The table of docs/statistics.md."""
    lines = [
        "| setting | tables | covers: run, mean over seeds | bias: raw, corrected | pair covers: equal, better "
        "| called different | better one told (ideal) | table covers: equal, better | called different "
        "| better ones told (ideal) | P(on front): widest gap | Brier |",
        "|---" * 12 + "|",
    ]
    for name, row in rows.items():
        cells = [
            name,
            f"{row['tables']:.0f}",
            f"{row['run covers']:.0%}, {'-' if name in ONE_SEED else format(row['mean covers'], '.0%')}",
            f"{row['bias, raw']:+.1%}, {row['bias']:+.1%}",
        ]
        for family in ("pair", "table"):
            covers = [f"{row[f'{family}, {kind}: covers']:.0%}" for kind in ("equal", "better")]
            cells += [
                ", ".join(covers),
                # Vectors of one seed do differ, also where methods are equal.
                "-" if name in ONE_SEED else f"{row[f'{family}, equal: told']:.0%}",
                f"{row[f'{family}, better: told']:.0%} ({row[f'{family}, better: ideal']:.0%})",
            ]
        lines.append("| " + " | ".join([*cells, f"{100 * row['gap']:.0f} points", f"{row['Brier']:.2f}"]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=400, help="simulated tables a setting")
    parser.add_argument("--only", nargs="+", help="names of settings")
    parser.add_argument("--write", action="store_true", help="into docs/statistics.md")
    options = parser.parse_args()
    chosen = [setting for setting in SETTINGS if options.only is None or setting.name in options.only]
    rows = {}
    for setting in chosen:
        rows[setting.name] = {"tables": options.tables, **summary(simulate(setting, options.tables))}
        print(json.dumps({setting.name: rows[setting.name]}), flush=True)
    text = markdown(rows)
    if options.write:
        before, _, rest = DOCS.read_text().partition(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    else:
        print(text)


if __name__ == "__main__":
    main()
