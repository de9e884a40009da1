"""How does every value's score change over the box of coefficients?

    mva experiment=reward_curves hydra.run.dir=outputs/reward_curves
    python experiments/reward_curves.py outputs/reward_curves

Along every vector alone, along all vectors together, and (for every two vectors) over the plane: scores, and gains over
the base, which are paired over prompts; 95 % intervals over the validation prompts. Written into the folder:
reward_curves.json, reward_curves.png, reward_gains.png and reward_planes.png.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from mva.analysis.surface import Surface, surfaces
from mva.records import write_json
from mva.report.figures import save
from mva.report.surface_figures import draw_curves, draw_planes
from mva.runs.run_folder import read_run
from mva.terminal import Console

Curves = dict[str, list[dict[str, Any]]]


def over_base(rewards: Surface) -> Surface:
    """What every candidate gains over the base, prompt by prompt."""
    return rewards.minus(rewards.at(np.zeros(len(rewards.vectors))))


def curves(rewards: Surface) -> Curves:
    """By ray: at every `coefficient` each value's `score` and its `gain` over the base, as mean, low and high."""
    found: Curves = {}
    for name, direction in rewards.rays().items():
        levels, ray = rewards.along(direction)
        columns = {"score": _described(ray), "gain": _described(over_base(rewards).along(direction)[1])}
        found[name] = [
            {"coefficient": float(level), **{what: rows[k] for what, rows in columns.items()}}
            for k, level in enumerate(levels)
        ]
    return found


def table(found: Curves, values: tuple[str, ...]) -> Table:
    """Lay the curves out; each value's best score on a ray is bold."""
    shown = Table("vector", "coefficient", title="Score, and gain over the base with its 95 % interval")
    for value in values:
        shown.add_column(value, justify="right")
    for name, points in found.items():
        best = {value: max(point["score"][value][0] for point in points) for value in values}
        for point in points:
            shown.add_row(name, f"{point['coefficient']:g}", *(_cell(point, value, best[value]) for value in values))
        shown.add_section()
    return shown


def _described(ray: Surface) -> list[dict[str, list[float]]]:
    """Mean, low and high by value, at every level."""
    rows = np.stack([ray.means, *ray.intervals()], axis=2)
    return [dict(zip(ray.measures, row.tolist(), strict=True)) for row in rows]


def _cell(point: dict[str, Any], value: str, best: float) -> str:
    score, (gain, low, high) = point["score"][value][0], point["gain"][value]
    style = "[bold]" if score == best else "[not bold]"
    return f"{style}{score:.2f}[/]   {gain:+.2f} ({low:+.2f} to {high:+.2f})"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a run's folder")
    folder = parser.parse_args().folder
    rewards, _ = surfaces(read_run(folder))
    found = curves(rewards)
    write_json(folder / "reward_curves.json", {"rays": found, "n_prompts": rewards.numbers.shape[1]})
    save(draw_curves(rewards), folder, "reward_curves", forms=())
    save(draw_curves(over_base(rewards)), folder, "reward_gains", forms=())
    planes = draw_planes(rewards, title="Score over the box")
    if planes is not None:
        save(planes, folder, "reward_planes", forms=())
    Console(width=160).print(table(found, rewards.measures))


if __name__ == "__main__":
    main()
