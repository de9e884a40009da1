"""Are scores read off a surface nearer to the truth than raw means, and is a surface that does not fit switched off?

    python experiments/surface_scores.py --write                 # the simulated table of docs/statistics.md
    python experiments/surface_scores.py --runs FOLDER FOLDER    # real runs: half of the prompts predict the other half

Errors are those of differences between candidates (scores less their mean over the candidates), since what a prompt
does to all candidates moves them as a whole. "As if prompts" is the ratio of the squared errors of raw means and of
scores as they are used: read off the surface, or raw where the test of lack of fit (5 %) switches it off.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from simulated_tables import Floats, Run, Setting, table

from mva.pareto.dominance import non_dominated
from mva.pareto.hypervolume import hypervolume
from mva.runs.responses import Answers
from mva.runs.run_folder import RunFiles, read_run
from mva.statistics.estimate import student
from mva.statistics.surface_scores import surface_scores

DOCS = Path(__file__).parents[1] / "docs" / "statistics.md"
BEGIN, END = "<!-- simulated by experiments/surface_scores.py -->", "<!-- end of surface scores -->"
REFERENCE = -3.0
WORLDS = 4
SPLITS = 100

Change = Callable[[Run, np.random.Generator], Floats]


def unchanged(run: Run, _generator: np.random.Generator) -> Floats:
    """The tables' own truth: saturating gains with interference."""
    return run.truth


def wandering(run: Run, generator: np.random.Generator) -> Floats:
    """A random smooth surface: length 0.7 of the range, standard deviation 0.5."""
    distances = ((run.coefficients[:, None] - run.coefficients[None]) ** 2).sum(axis=-1)
    root = np.linalg.cholesky(np.exp(-distances / (2 * 0.7**2)) + 1e-8 * np.eye(len(distances)))
    return np.asarray(0.5 * root @ generator.standard_normal(run.truth.shape))


def cliff(run: Run, _generator: np.random.Generator) -> Floats:
    """Scores fall by 1.5 where the coefficients' mean exceeds 0.7."""
    return run.truth - 1.5 * (run.coefficients.mean(axis=1) > 0.7)[:, None]


def corner(run: Run, _generator: np.random.Generator) -> Floats:
    """The candidate with all coefficients at 1 falls by 1."""
    return run.truth - 1.0 * (run.coefficients.min(axis=1) == 1)[:, None]


def beyond_two(run: Run, _generator: np.random.Generator) -> Floats:
    """Seven levels stand for coefficients from 0 to 3: above 2 all texts fall apart and score -1.5."""
    fallen = (3 * run.coefficients).max(axis=1, keepdims=True) > 2 + 1e-9
    return np.where(fallen, -1.5, run.truth)


def rough(run: Run, generator: np.random.Generator) -> Floats:
    """Every candidate differs from its neighbours by chance, standard deviation 0.3."""
    return run.truth + 0.3 * generator.standard_normal(run.truth.shape)


@dataclass(frozen=True)
class World:
    """A row of the table: a setting of the simulated tables, what becomes of its truth, and whether it is smooth."""

    setting: Setting
    change: Change = unchanged
    simplex: bool = False


ROWS = (
    World(Setting("12 prompts, 25 candidates, 2 values", n_prompts=12)),
    World(Setting("24 prompts")),
    World(Setting("100 prompts", n_prompts=100)),
    World(Setting("24 prompts, random smooth surface"), wandering),
    World(Setting("100 prompts, random smooth surface", n_prompts=100), wandering),
    World(Setting("24 prompts, 9 candidates", levels=(3,))),
    World(Setting("24 prompts, 3 values, 27 candidates", n_values=3, levels=(3,))),
    World(Setting("24 prompts, 3 values, the simplex's 15 candidates", n_values=3, levels=(5,)), simplex=True),
    World(Setting("24 prompts, 121 candidates", levels=(11,))),
    World(Setting("24 prompts, little noise", noise=0.25)),
    World(Setting("24 prompts, skewed", kind="skewed")),
    World(Setting("24 prompts, heavy tails", kind="heavy")),
    World(Setting("12 prompts, a cliff", n_prompts=12), cliff),
    World(Setting("24 prompts, a cliff"), cliff),
    World(Setting("12 prompts, one corner falls off", n_prompts=12), corner),
    World(Setting("24 prompts, one corner falls off"), corner),
    World(Setting("24 prompts, texts fall apart beyond 2 (49 candidates)", levels=(7,)), beyond_two),
    World(Setting("24 prompts, every candidate by itself"), rough),
    World(Setting("100 prompts, every candidate by itself", n_prompts=100), rough),
)


def simulate(world: World, n_tables: int) -> dict[str, float]:
    """Simulate tables of one method and one seed, and hold raw, surface and used scores against the truth."""
    setting = replace(world.setting, n_methods=1, n_seeds=1, n_better=0)
    rows = [_measure(*_simulated(world, setting, number)) for number in range(n_tables)]
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    means = {name: float(column.mean()) if column.size else float("nan") for name, column in columns.items()}
    return {
        "raw": means["raw"] ** 0.5,
        "used": means["used"] ** 0.5,
        "as if": means["raw"] / means["used"],
        "said": float(np.median(columns["worth"])),
        "off": means["off"],
        "covers": means["covers"],
        "lost raw": means["lost raw"],
        "lost used": means["lost used"],
    }


def _simulated(world: World, setting: Setting, number: int) -> tuple[Floats, Floats, Floats]:
    """Coefficients, true scores and rewards of a simulated run."""
    generator = np.random.default_rng([number, 21])
    ((run,),) = table(setting, number % WORLDS, generator)
    truth = world.change(run, generator)
    rewards = run.validation + (truth - run.truth)[:, None]
    rows = np.arange(len(truth))
    if world.simplex:
        rows = np.flatnonzero(np.abs(run.coefficients.sum(axis=1) - 1) < 1e-9)
    return run.coefficients[rows], truth[rows], rewards[rows]


def _measure(coefficients: Floats, truth: Floats, rewards: Floats) -> dict[str, Floats]:
    scores = surface_scores(coefficients, rewards)
    assert scores is not None
    raw = rewards.mean(axis=1)
    used = np.where(scores.fits, scores.means, raw)
    half = student(rewards.shape[1] - 1) * scores.errors
    return {
        "raw": _squared_error(raw, truth),
        "used": _squared_error(used, truth),
        "worth": scores.worth,
        "off": 1.0 - scores.fits,
        "covers": (np.abs(scores.means - truth) <= half).mean(axis=0)[scores.fits],
        "lost raw": np.array([_lost(raw, truth)]),
        "lost used": np.array([_lost(used, truth)]),
    }


def _squared_error(scores: Floats, truth: Floats) -> Floats:
    """Of differences between candidates, by value. Shape: `(n, k) -> (k,)`."""
    error = scores - truth
    return np.asarray(error.var(axis=0))


def _lost(scores: Floats, truth: Floats) -> float:
    """The share of the true hypervolume that is lost by taking the front of `scores`."""
    point = np.full(truth.shape[1], REFERENCE)
    return 1 - hypervolume(truth[non_dominated(scores)], point) / hypervolume(truth, point)


def of_run(run: RunFiles) -> list[tuple[str, float, float, float]]:
    """Let half of a run's validation prompts predict the other half, `SPLITS` times.

    Returns:
        By value: its name, the squared error of raw means and of used scores (less the expected noise of the half
        that is predicted), and the share of halves on which the surface is switched off.
    """
    assert run.front is not None
    lines = [line for line in run.candidates if line["split"] == "validation"]
    values = run.front.values
    rewards = Answers.of(run, [line["id"] for line in lines], "validation").rewards(values)
    coefficients = np.array([list(line["coefficients"].values()) for line in lines])
    halves = [_half(coefficients, rewards, seed) for seed in range(SPLITS)]
    raw, used, off = (np.mean([half[number] for half in halves], axis=0) for number in range(3))
    centred = rewards - rewards.mean(axis=0)
    n_half = rewards.shape[1] - rewards.shape[1] // 2
    noise = centred.var(axis=1, ddof=1).mean(axis=0) / n_half
    return [
        (value, float(raw[k] - noise[k]), float(used[k] - noise[k]), float(off[k])) for k, value in enumerate(values)
    ]


def _half(coefficients: Floats, rewards: Floats, seed: int) -> tuple[Floats, Floats, Floats]:
    order = np.random.default_rng(seed).permutation(rewards.shape[1])
    first, second = np.split(order, [rewards.shape[1] // 2])
    scores = surface_scores(coefficients, rewards[:, first])
    assert scores is not None
    raw, target = rewards[:, first].mean(axis=1), rewards[:, second].mean(axis=1)
    used = np.where(scores.fits, scores.means, raw)
    return _squared_error(raw, target), _squared_error(used, target), np.where(scores.fits, 0.0, 1.0)


def held_out(run: RunFiles) -> list[tuple[str, float, float, int]]:
    """By value: the squared errors with which a run's recorded raw and used scores predict held-out scores.

    Those are known of the candidates that were scored again (the front, the simplex's, the base); the last number is
    how many.
    """
    assert run.front is not None
    again = {line["id"]: line["scores"] for line in run.candidates if line["split"] == "test"}
    lines = [line for line in run.candidates if line["split"] == "validation"]
    values = run.front.values
    rewards = Answers.of(run, [line["id"] for line in lines], "validation").rewards(values)
    scores = surface_scores(np.array([list(line["coefficients"].values()) for line in lines]), rewards)
    assert scores is not None
    raw = rewards.mean(axis=1)
    used = np.where(scores.fits, scores.means, raw)
    rows_again = [row for row, line in enumerate(lines) if line["id"] in again]
    target = np.array([[again[lines[row]["id"]][value] for value in values] for row in rows_again])
    errors = _squared_error(raw[rows_again], target), _squared_error(used[rows_again], target)
    return [(value, float(errors[0][k]), float(errors[1][k]), len(rows_again)) for k, value in enumerate(values)]


def markdown(n_tables: int, rows: Sequence[World]) -> str:
    """The table of docs/statistics.md."""
    lines = [
        "| setting | error of differences: raw, as used | as if prompts (said) | surface off "
        "| intervals cover | lost by choosing the front: raw, as used |",
        "|---" * 6 + "|",
    ]
    for world in rows:
        row = simulate(world, n_tables)
        cells = [
            world.setting.name,
            f"{row['raw']:.3f}, {row['used']:.3f}",
            f"x {row['as if']:.1f} ({row['said']:.1f})",
            f"{row['off']:.1%}",
            "-" if np.isnan(row["covers"]) else f"{row['covers']:.0%}",
            f"{row['lost raw']:.1%}, {row['lost used']:.1%}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def print_runs(folders: Sequence[Path]) -> None:
    """Print what real runs say."""
    for folder in folders:
        run = read_run(folder)
        for value, raw, used, off in of_run(run):
            print(f"{folder.name} {value}: halves: raw {raw:.4f}, used {used:.4f}, x {raw / used:.1f}, off {off:.0%}")
        for value, raw, used, n in held_out(run):
            print(f"{folder.name} {value}: held-out scores of {n} candidates: raw {raw:.4f}, used {used:.4f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=500, help="simulated tables a setting")
    parser.add_argument("--only", nargs="+", help="names of settings")
    parser.add_argument("--write", action="store_true", help="into docs/statistics.md")
    parser.add_argument("--runs", type=Path, nargs="+", help="folders of finished runs, in place of simulated tables")
    options = parser.parse_args()
    if options.runs:
        print_runs(options.runs)
        return
    text = markdown(options.tables, [row for row in ROWS if options.only is None or row.setting.name in options.only])
    if options.write:
        before, _, rest = DOCS.read_text().partition(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
