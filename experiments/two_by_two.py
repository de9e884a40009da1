"""Do both parts matter? Decorrelation x extrapolation, the paper's Table 1, with intervals and the interaction.

    mva -m experiment=two_by_two penalty.strength=0,100 seed=0,1,2 hydra.sweep.dir=outputs/two_by_two
    python experiments/two_by_two.py outputs/two_by_two

A job fills two cells: all of its candidates are the box, those whose coefficients sum to 1 the simplex. A cell's number
is the hypervolume on validation prompts, scores scaled to the range of all candidates of a seed: one reference point a
seed. More candidates dominate more, whatever they are; so the box is measured with all of its candidates and again with
as many as the simplex has, drawn at random, on average over draws (a hard test: nobody would choose them at random).
The fronts of both, chosen on validation prompts, are measured again on held-out prompts, on a scale of their own.
Differences are paired by prompts and seeds. Written into the folder: two_by_two.json and two_by_two.png.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table

from mva.analysis.held_out import check_comparable, held_out_rewards
from mva.analysis.surface import surfaces
from mva.extrapolation.candidate import Candidate, coordinates
from mva.pareto.front import SMALLEST_DIFFERENCE
from mva.pareto.hypervolume import hypervolume
from mva.pareto.indicators import Yardstick
from mva.records import write_json
from mva.report.figures import save
from mva.report.style import PALETTE
from mva.runs.run_folder import RunFiles
from mva.runs.sweep_folder import read_sweep
from mva.statistics.comparison import judged
from mva.statistics.estimate import Estimate, Interval, interval
from mva.statistics.posterior import ScorePosterior, Statistic
from mva.terminal import Console

Floats = NDArray[np.float64]
Cell = tuple[str, str]
PENALTIES, REGIONS = ("no penalty", "penalty"), ("simplex", "box")
SUBSETS = 25
REFERENCE = -0.1  # a tenth of the range below the worst score, as Yardstick.of places it


def halves(folder: Path, strength: float | None = None) -> tuple[list[RunFiles], list[RunFiles]]:
    """The runs without and with the penalty, in the order of the seeds that have both.

    Raises:
        ValueError: If no seed has both, or several strengths above 0 leave open which one is meant.
    """
    runs: dict[float, dict[int, RunFiles]] = defaultdict(dict)
    for job in read_sweep(folder):
        if job.run is not None:
            config = yaml.safe_load(job.run.config)
            runs[float(config["penalty"]["strength"])][int(config["seed"])] = job.run
    strengths = sorted(set(runs) - {0.0}) if strength is None else [strength]
    if len(strengths) > 1:
        raise ValueError(f"The sweep has the penalty strengths {strengths}: choose one with --strength.")
    with_penalty = runs[strengths[0]] if strengths else {}
    seeds = sorted(set(runs[0.0]) & set(with_penalty))
    if not seeds:
        raise ValueError(f"{folder} has no seed that finished both without and with the penalty: run the sweep again.")
    return [runs[0.0][seed] for seed in seeds], [with_penalty[seed] for seed in seeds]


class Scored(NamedTuple):
    """Candidates and their rewards. Shape: `(n_candidates, n_vectors)`, `(n_candidates, n_prompts, n_values)`."""

    omegas: Floats
    rewards: Floats


def on_validation(run: RunFiles) -> list[Scored]:
    """All candidates with their rewards, by region."""
    surface, _ = surfaces(run)
    convex = [Candidate(dict(zip(surface.vectors, row, strict=True))).convex for row in surface.coefficients.tolist()]
    return [
        Scored(surface.coefficients[convex], surface.numbers[convex]),
        Scored(surface.coefficients, surface.numbers),
    ]


def on_held_out(run: RunFiles) -> list[Scored]:
    """The candidates on each region's front with their rewards on held-out prompts.

    Raises:
        ValueError: If the simplex's front was not scored on held-out prompts.
    """
    front = run.front
    assert front is not None
    if front.hypervolume_simplex_held_out is None:
        raise ValueError(f"{run.folder} has no held-out scores of coefficients that sum to 1: run the sweep again.")
    omegas = {line["id"]: Candidate(line["coefficients"], line["composition"]) for line in run.candidates}
    return [
        Scored(
            coordinates([omegas[identifier] for identifier in ids]),
            held_out_rewards(run, front.values, ids),
        )
        for ids in (front.simplex, [point.id for point in front.points])
    ]


def cells(pairs: Iterable[tuple[Sequence[Scored], Sequence[Scored]]]) -> dict[Cell, list[Scored]]:
    """Put both halves of every seed, by region, into the cells, rewards scaled to their common range.

    One entry a seed. The reference point is `REFERENCE` in every value.
    """
    filled: dict[Cell, list[Scored]] = {cell: [] for cell in product(PENALTIES, REGIONS)}
    for pair in pairs:
        four = [scored for half in pair for scored in half]
        yardstick = Yardstick.of([scored.rewards.mean(axis=1) for scored in four])
        for cell, (omegas, rewards) in zip(filled, four, strict=True):
            scaled = yardstick.scale(rewards.reshape(-1, rewards.shape[2])).reshape(rewards.shape)
            filled[cell].append(Scored(omegas, scaled))
    return filled


@cache
def subsets(n: int, size: int) -> Floats:
    """Which candidates each draw takes. Shape: `(SUBSETS, size)`; all of them in a single draw if there are no more."""
    generator = np.random.default_rng([n, size])
    draws = [generator.choice(n, size, replace=False) for _ in range(SUBSETS)] if n > size else [np.arange(n)]
    return np.stack(draws)


def mean_hypervolume(scores: Floats, size: int) -> float:
    """The hypervolume of `size` of the candidates, on average over random draws."""
    point = np.full(scores.shape[1], REFERENCE)
    return float(np.mean([hypervolume(scores[rows], point) for rows in subsets(len(scores), size)]))


def whole_hypervolume(scores: Floats) -> float:
    """The hypervolume of all candidates."""
    return mean_hypervolume(scores, len(scores))


def measure(filled: Mapping[Cell, Sequence[Scored]], statistic: Statistic) -> dict[str, Any]:
    """The cells, each part's effect without and with the other one, and the interaction."""
    estimates = {
        cell: [ScorePosterior.of(*scored).estimate(statistic) for scored in seeds] for cell, seeds in filled.items()
    }
    seeds = zip(*(estimates[cell] for cell in product(PENALTIES, REGIONS)), strict=True)
    effects: dict[str, list[Estimate]] = defaultdict(list)
    for off_simplex, off_box, on_simplex, on_box in seeds:
        effects["extrapolation, no penalty"].append(off_box - off_simplex)
        effects["extrapolation, penalty"].append(on_box - on_simplex)
        effects["decorrelation, simplex"].append(on_simplex - off_simplex)
        effects["decorrelation, box"].append(on_box - off_box)
        effects["interaction"].append((on_box - on_simplex) - (off_box - off_simplex))
    matters = SMALLEST_DIFFERENCE * float(np.mean([estimate.value for estimate in estimates["no penalty", "simplex"]]))
    # Each effect by itself: they are no family of comparisons with one first method, whose variances are alike.
    differences = {effect: judged([seeds_of], smallest_difference=matters)[0] for effect, seeds_of in effects.items()}
    return {
        "cells": {
            ", ".join(cell): {
                "candidates": len(filled[cell][0].rewards),
                **described(interval(seeds_of, at_least=0.0)),
            }
            for cell, seeds_of in estimates.items()
        },
        "effects": {
            effect: {**described(difference.interval), "verdict": str(difference.verdict)}
            for effect, difference in differences.items()
        },
    }


def whole_table(without: Sequence[RunFiles], with_penalty: Sequence[RunFiles]) -> dict[str, dict[str, Any]]:
    """What `measure` finds: of all candidates, of equally many, and of the fronts on held-out prompts.

    Raises:
        NotComparable: If the runs differ in rewards or prompts.
    """
    runs = [*zip(without, with_penalty, strict=True)]
    validation = cells((on_validation(a), on_validation(b)) for a, b in runs)
    check_comparable([*without, *with_penalty])
    fronts = cells((on_held_out(a), on_held_out(b)) for a, b in runs)
    size = min(len(scored.rewards) for penalty in PENALTIES for scored in validation[penalty, "simplex"])
    return {
        "all candidates": measure(validation, whole_hypervolume),
        f"{size} candidates each": measure(validation, partial(mean_hypervolume, size=size)),
        "fronts, held out": measure(fronts, whole_hypervolume),
    }


def described(bounds: Interval) -> dict[str, Any]:
    """An interval as plain data."""
    return {"estimate": bounds.estimate, "low": bounds.low, "high": bounds.high}


def tables(record: dict[str, Any]) -> list[Table]:
    """Lay out cells and effects."""
    n = f"{record['seeds']} seeds, {record['prompts']['validation']} prompts, {record['prompts']['test']} held out"
    shown = Table("candidates", "penalty, coefficients", "hypervolume", title=f"Cells ({n})")
    effects = Table("candidates", "effect", "difference of hypervolumes", "verdict", title=f"Effects ({n})")
    for number, one in record["found"].items():
        for cell, bounds in one["cells"].items():
            shown.add_row(number, f"{cell} ({bounds['candidates']})", _interval(bounds))
        for effect, bounds in one["effects"].items():
            effects.add_row(number, effect, _interval(bounds), bounds["verdict"])
    return [shown, effects]


def draw(record: dict[str, Any]) -> Figure:
    """Draw the cells: where the lines are parallel, the two parts do not depend on each other."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, len(record["found"]), sharey=True)
    for axes, (number, one) in zip(panels, record["found"].items(), strict=True):
        for k, penalty in enumerate(PENALTIES):
            found = [one["cells"][f"{penalty}, {region}"] for region in REGIONS]
            middle, bars = [c["estimate"] for c in found], [(c["low"], c["high"]) for c in found]
            places = np.arange(len(REGIONS)) + 0.05 * k
            axes.plot(places, middle, "o-", color=PALETTE[k], label=penalty)
            axes.vlines(places, *zip(*bars, strict=True), color=PALETTE[k], linewidth=1.2, alpha=0.6)
        axes.set(title=number, xticks=range(len(REGIONS)), xticklabels=REGIONS)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("hypervolume, scaled scores")
    panels[0].set_ylim(bottom=0)
    panels[0].legend(frameon=False)
    return figure


def _interval(one: Mapping[str, float]) -> str:
    return f"{one['estimate']:.3f} ({one['low']:.3f} to {one['high']:.3f})"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a multirun's folder")
    parser.add_argument("--strength", type=float, help="which penalty strength is held against 0, of several")
    options = parser.parse_args()
    without, with_penalty = halves(options.folder, options.strength)
    record = {
        "seeds": len(without),
        "prompts": {
            split: len({g["prompt_id"] for g in without[0].generations if g["split"] == split})
            for split in ("validation", "test")
        },
        "found": whole_table(without, with_penalty),
    }
    write_json(options.folder / "two_by_two.json", record)
    save(draw(record), options.folder, "two_by_two", forms=())
    console = Console(width=150)
    console.print(*tables(record))
    if len(without) == 1:
        console.print("One seed: this speaks of these vectors, not of the methods.")


if __name__ == "__main__":
    main()
