"""Where does it fail? A penalty that costs too much, interference that is left, coefficients that go too far.

    mva experiment=failure_signatures hydra.run.dir=outputs/failure_signatures
    python experiments/failure_signatures.py outputs/failure_signatures

- **over-decorrelation**: norm and own score of each penalised vector against independent training (preservation.json).
- **interference left**: each value's score with all vectors at 1 against its own vector alone.
- **bad extrapolation**: where the scores leave the linear prediction from the base and the vectors alone,
  `s(0) + sum_i omega_i (s(e_i) - s(0))`.
- **collapse**: from which coefficient on texts are worse than at 1 of the same ray (loops, few words, fragments,
  silence, another length), and a value's score is lower than its vector's alone.

All differences are paired over prompts, with 95 % intervals. On a ray a level counts only if all higher ones of the ray
do, too. [simulated, linear scores on 12 prompts: 7 % of candidates and 8 % of rays are told all the same; candidates
share prompts and corners, so that it is none in most runs and a quarter in a few.] Written into the folder:
failure_signatures.json, failure_residuals.png and failure_collapse.png.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from mva.analysis.surface import Surface, holds_from, interference, surfaces
from mva.analysis.text_statistics import STATISTICS
from mva.records import write_json
from mva.report.figures import save
from mva.report.surface_figures import draw_curves, draw_planes
from mva.runs.run_folder import RunFiles, read_run
from mva.statistics.comparison import Difference
from mva.terminal import Console

Found = dict[str, Any]


def over_decorrelation(run: RunFiles) -> Found:
    """By penalised value: the share of the norm that is kept, and the difference of its own score."""
    return {
        value: {
            "norm_kept": vector["norm"] / vector["norm_independent"],
            "difference": vector["difference"],
            "low": vector["low"],
            "high": vector["high"],
            "verdict": vector.get("verdict", "-"),
        }
        for value, vector in run.preservation.items()
    }


def described(difference: Difference) -> Found:
    """A difference as plain data."""
    bounds = difference.interval
    return {
        "difference": bounds.estimate,
        "low": bounds.low,
        "high": bounds.high,
        "verdict": str(difference.verdict),
    }


def regions(residuals: Surface) -> Found:
    """By region of the box and value: the mean residual, and how many candidates lie off the linear prediction.

    The base and the vectors alone at 1 are left out: there the prediction is exact by construction.
    """
    signs, highest, total = residuals.signs(), residuals.coefficients.max(axis=1), residuals.coefficients.sum(axis=1)
    exact = (total < 1e-6) | ((np.abs(highest - 1) < 1e-6) & (np.abs(total - 1) < 1e-6))
    inside = highest < 1 + 1e-6
    return {
        name: {
            value: {
                "n_candidates": int(rows.sum()),
                "residual": float(residuals.means[rows, k].mean()),
                "share_below": float((signs[rows, k] < 0).mean()),
                "share_above": float((signs[rows, k] > 0).mean()),
            }
            for k, value in enumerate(residuals.measures)
        }
        for name, rows in (("up to 1", ~exact & inside), ("beyond 1", ~exact & ~inside))
        if rows.any()
    }


def along_rays(rewards: Surface, texts: Surface) -> Found:
    """By ray and measure: means by level, and the levels from which on it is not linear, and worse than in the box.

    A text is held against the ray's own at 1; a value's score, where its vector takes part, against that vector alone
    at 1.
    """
    alone = dict(zip(rewards.vectors, np.eye(len(rewards.vectors)), strict=True))
    residuals = rewards.residuals()
    found: Found = {}
    for ray, direction in rewards.rays().items():
        found[ray] = {}
        for measure, one in STATISTICS.items():
            worse = worse_from(texts, measure, direction, direction, one.worse)
            found[ray][measure] = {"means": means(texts, measure, direction), "worse_from": worse}
        for value in rewards.measures:
            takes_part = value in alone and direction @ alone[value] > 0
            worse = worse_from(rewards, value, direction, alone[value], -1) if takes_part else None
            levels, ray_of_value = residuals.only(value).along(direction)
            bent = holds_from(levels, ray_of_value.signs()[:, 0] != 0)
            found[ray][value] = {
                "means": means(rewards, value, direction), "worse_from": worse, "nonlinear_from": bent,
            }  # fmt: skip
    return found


def means(surface: Surface, measure: str, direction: np.ndarray) -> dict[str, float]:
    """The measure's mean at every level of the ray."""
    levels, ray = surface.only(measure).along(direction)
    return {f"{level:g}": float(mean) for level, mean in zip(levels, ray.means[:, 0], strict=True)}


def worse_from(
    surface: Surface, measure: str, direction: np.ndarray, reference: np.ndarray, worse: int
) -> float | None:
    """The level, 1 or above, from which on the measure is worse (1: higher, 0: different) than at the reference."""
    levels, ray = surface.minus(surface.at(reference)).only(measure).along(direction)
    rows = levels > 1 - 1e-6
    signs = ray.signs()[rows, 0]
    return holds_from(levels[rows], signs == worse if worse else signs != 0)


def tables(record: Found) -> list[Table]:
    """Lay out what was found."""
    penalty = Table("value", "norm kept", "own score (95 % interval)", "verdict", title="Against independent training")
    for value, one in record["over_decorrelation"].items():
        penalty.add_row(value, f"{one['norm_kept']:.2f}", _interval(one), one["verdict"])
    left = Table("value", "own score (95 % interval)", "verdict", title="All vectors at 1 against the vector alone")
    for value, one in record["interference"].items():
        left.add_row(value, _interval(one), one["verdict"])
    title = "Against the linear prediction (told by chance: 7 % on average, a quarter in a few runs)"
    linear = Table("coefficients", "value", "candidates", "residual", "told below", "told above", title=title)
    for region, values in record["regions"].items():
        for value, one in values.items():
            shares = f"{one['share_below']:.0%}", f"{one['share_above']:.0%}"
            linear.add_row(region, value, str(one["n_candidates"]), f"{one['residual']:+.2f}", *shares)
    return [penalty, left, linear, _ray_table(record["rays"])]


def _ray_table(rays: Found) -> Table:
    title = "Along the rays; worse: than at 1 of the same ray, a score: than the value's vector alone"
    table = Table("vector", "measure", "at 0", "at 1", "at the end", "not linear from", "worse from", title=title)
    for ray, measures in rays.items():
        for measure, one in measures.items():
            by_level, end = one["means"], list(one["means"])[-1]
            cells = [f"{by_level['0']:.2f}", f"{by_level['1']:.2f}", f"{by_level[end]:.2f} (at {end})"]
            levels = [one.get("nonlinear_from"), one["worse_from"]]
            table.add_row(ray, measure, *cells, *("-" if level is None else f"{level:g}" for level in levels))
        table.add_section()
    return table


def _interval(one: Found) -> str:
    return f"{one['difference']:+.2f} ({one['low']:+.2f} to {one['high']:+.2f})"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a run's folder")
    folder = parser.parse_args().folder
    run = read_run(folder)
    rewards, texts = surfaces(run)
    residuals = rewards.residuals()
    record = {
        "n_prompts": rewards.numbers.shape[1],
        "over_decorrelation": over_decorrelation(run),
        "interference": {value: described(one) for value, one in interference(rewards).items()},
        "regions": regions(residuals),
        "rays": along_rays(rewards, texts),
    }
    write_json(folder / "failure_signatures.json", record)
    title = "Score minus linear prediction; x: 0 is outside of its 95 % interval"
    planes = draw_planes(residuals, title=title, marks=residuals.signs() != 0)
    if planes is not None:
        save(planes, folder, "failure_residuals", forms=())
    save(draw_curves(texts), folder, "failure_collapse", forms=())
    Console(width=150).print(*tables(record))


if __name__ == "__main__":
    main()
