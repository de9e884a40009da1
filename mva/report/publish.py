"""Send a run folder's results to a tracker: at a run's end, or afterwards from the files alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mva.report.front_view import FrontView, front_view, hypervolume_curve, side_by_side
from mva.report.interactive import front_figures
from mva.report.run_files import RunFiles, read_run
from mva.report.tables import candidate_rows, front_rows
from mva.tracking.base import Tracker

_SAMPLES = 12


def publish(folder: Path, tracker: Tracker) -> None:
    """Send what the folder holds beside metrics: tables, figures, the page, responses, vectors and front, results.

    Raises:
        UnreadableRun: If the folder is no run.
        ValueError: If the run has no front yet.
    """
    run = read_run(folder)
    view = front_view(run)
    for evaluations, volume in enumerate(hypervolume_curve(view), start=1):
        tracker.log({"explore/hypervolume": volume}, evaluations)
    tracker.table("candidates", *candidate_rows(view))
    tracker.table("front_table", *front_rows(view))
    tracker.table("responses", *_responses(run, view))
    for number, figure in enumerate(front_figures(view)):
        tracker.plot(f"pareto_front_{number}" if number else "pareto_front", figure)
    for picture in sorted((folder / "figures").glob("*.png")):
        tracker.figure(picture.stem, picture)
    tracker.page("report", folder / "report.html")
    tracker.artifact("value-vectors", "model", [folder / "adapters"], aliases=[folder.name])
    tracker.artifact("front", "front", [folder / "front.json", folder / "candidates.jsonl"], aliases=[folder.name])
    tracker.summary(results(run, view))


def replay(folder: Path, tracker: Tracker) -> None:
    """Send everything, with the metrics of training: for a run that was not mirrored while it ran."""
    for line in read_run(folder).metrics:
        numbers = {name: value for name, value in line.items() if name.partition("/")[0] in ("train", "validation")}
        if numbers:
            tracker.log(numbers, line["step"])
    publish(folder, tracker)


def results(run: RunFiles, view: FrontView) -> dict[str, Any]:
    """A run's results as flat names and numbers."""
    front = view.front
    found: dict[str, Any] = {
        "hypervolume": front.hypervolume,
        "hypervolume_held_out": front.hypervolume_held_out,
        "hypervolume_simplex": front.hypervolume_simplex,
        "front_points": len(front.points),
        "candidates": front.n_candidates,
    }
    found |= {f"reward/{value}/held_out_accuracy": reward["accuracy"] for value, reward in run.rewards.items()}
    for pair in run.dependence.get("pairs", ()):
        found |= _dependence(pair)
    for value, kept in run.preservation.items():
        found[f"preservation/{value}/norm_ratio"] = kept["norm"] / kept["norm_independent"]
        found[f"preservation/{value}/score_difference"] = kept["difference"]
    return found


def _dependence(pair: Mapping[str, Any]) -> dict[str, float]:
    name = f"dependence/{pair['first']}-{pair['second']}/{pair['estimator']}"
    return {
        name: pair["dependence"],
        f"{name}/chance": pair["chance_mean"],
        f"{name}/independent_training": pair["independent_training"],
    }


def _responses(run: RunFiles, view: FrontView) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of the front's responses beside the base's."""
    shown = [c for c in view.candidates if c.on_front or c.kind == "base"]
    rows: list[list[object]] = []
    for entry in side_by_side(run, shown, limit=_SAMPLES):
        for candidate in shown:
            line = entry["responses"][candidate.id]
            rewards = [line["rewards"][value] for value in view.values]
            rows.append([entry["prompt"], candidate.id, candidate.label, line["response"], *rewards])
    return ["prompt", "id", "coefficients", "response", *(f"{v} reward" for v in view.values)], rows
