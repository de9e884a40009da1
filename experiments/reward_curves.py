"""How does every value's score change over the box of coefficients?

    mva experiment=reward_curves hydra.run.dir=outputs/reward_curves
    python experiments/reward_curves.py outputs/reward_curves

Along every vector alone, along all vectors together, and (for every two vectors) over the plane; 95 % intervals over
the validation prompts. Written into the folder: reward_curves.json, reward_curves.png and reward_planes.png.
"""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mva.records import write_json
from mva.report.figures import save
from mva.report.run_files import read_run
from mva.report.surface import Surface, surfaces
from mva.report.surface_figures import draw_curves, draw_planes


def curves(rewards: Surface) -> dict[str, list[dict[str, Any]]]:
    """By ray: at every `coefficient` each value's mean `score`, `low` and `high`."""
    found = {}
    for name, direction in rewards.rays().items():
        levels, ray = rewards.along(direction)
        columns = {"score": ray.means, **dict(zip(("low", "high"), ray.intervals(), strict=True))}
        found[name] = [
            {
                "coefficient": float(level),
                **{what: dict(zip(rewards.measures, rows[k].tolist(), strict=True)) for what, rows in columns.items()},
            }
            for k, level in enumerate(levels)
        ]
    return found


def table(found: dict[str, list[dict[str, Any]]], values: tuple[str, ...]) -> Table:
    """Lay the curves out; each value's best score on a ray is bold."""
    shown = Table("vector", "coefficient", *values, title="Scores with 95 % intervals over prompts")
    for name, points in found.items():
        best = {value: max(points, key=lambda point, v=value: point["score"][v]) for value in values}
        for point in points:
            cells = [
                f"{point['score'][value]:.2f} ({point['low'][value]:.2f} to {point['high'][value]:.2f})"
                for value in values
            ]
            bold = [
                f"[bold]{cell}[/]" if point is best[value] else cell for value, cell in zip(values, cells, strict=True)
            ]
            shown.add_row(name, f"{point['coefficient']:g}", *bold, end_section=point is points[-1])
    return shown


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a run's folder")
    folder = parser.parse_args().folder
    rewards, _ = surfaces(read_run(folder))
    found = curves(rewards)
    write_json(folder / "reward_curves.json", {"rays": found, "n_prompts": rewards.numbers.shape[1]})
    save(draw_curves(rewards), folder, "reward_curves", forms=())
    planes = draw_planes(rewards, title="Score over the box")
    if planes is not None:
        save(planes, folder, "reward_planes", forms=())
    Console(width=160).print(table(found, rewards.measures))


if __name__ == "__main__":
    main()
