"""Send a run folder's results to a tracker: at a run's end, or afterwards from the files alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mva.analysis.facets import NOT_SET, facets, settings_of
from mva.analysis.front_view import FrontView, front_view, hypervolume_curve, side_by_side
from mva.analysis.sweep_record import job_record
from mva.analysis.sweep_view import SweepView, of_one_run
from mva.report.interactive import front_figures
from mva.report.tables import candidate_rows, front_rows
from mva.runs.run_folder import RunFiles, read_run
from mva.tracking.base import RunIdentity, Tracker, TrackerSpec

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
    for number, figure in enumerate(front_figures(of_one_run(run))):
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


def publish_sweep(view: SweepView, spec: TrackerSpec) -> None:
    """Open a run for the sweep as a whole, of its jobs' group, and send what its folder holds (see `write_sweep`).

    It overlays all fronts: jobs and their settings as a table, the joint figures, the page, front and sweep.json.
    """
    folder, found = view.folder, facets(view.jobs)
    config = {"jobs": len(view.jobs), "swept": {facet.key: list(facet.choices) for facet in found}}
    with spec.start(RunIdentity(folder, folder.name, folder.name, "report", config)) as tracker:
        tracker.table("jobs", *_job_table(view))
        for number, front in enumerate(view.fronts):
            for k, figure in enumerate(front_figures(front)):
                tracker.plot("_".join(["joint_front", *(str(n) for n in (number, k) if number or k)]), figure)
        if view.fronts:
            tracker.figure("front", folder / "front.png")
        tracker.page("sweep", folder / "report.html")
        records = [folder / name for name in ("sweep.json", "front.png", "report.html") if (folder / name).is_file()]
        tracker.artifact("sweep", "sweep", records, aliases=[folder.name])
        tracker.summary(_sweep_results(view))


def _job_table(view: SweepView) -> tuple[list[str], list[list[object]]]:
    """Columns and rows, one a job: its settings, how it ended and its numbers as numbers, to be sorted and plotted."""
    keys = [facet.key for facet in facets(view.jobs)]
    rows: list[list[object]] = []
    columns: list[str] = []
    for job in view.jobs:
        record = {name: fact for name, fact in job_record(view, job).items() if name not in ("overrides", "label")}
        settings = settings_of(job)
        columns = [*keys, *record]
        rows.append([*(settings.get(key, NOT_SET) for key in keys), *record.values()])
    return columns, rows


def results(run: RunFiles, view: FrontView) -> dict[str, Any]:
    """A run's results as flat names and numbers, none named as a table or a figure, which it would replace in W&B."""
    front = view.front
    found: dict[str, Any] = {
        "hypervolume": front.hypervolume,
        "hypervolume_held_out": front.hypervolume_held_out,
        "hypervolume_simplex": front.hypervolume_simplex,
        "hypervolume_simplex_held_out": front.hypervolume_simplex_held_out,
        "front_points": len(front.points),
        "n_candidates": front.n_candidates,
    }
    found |= {f"reward/{value}/held_out_accuracy": reward["accuracy"] for value, reward in run.rewards.items()}
    for pair in run.dependence.get("pairs", ()):
        found |= _dependence(pair)
    for value, kept in run.preservation.items():
        found[f"preservation/{value}/norm_ratio"] = kept["norm"] / kept["norm_independent"]
        found[f"preservation/{value}/score_difference"] = kept["difference"]
    return found


def _sweep_results(view: SweepView) -> dict[str, Any]:
    found: dict[str, Any] = {"n_jobs": len(view.jobs), "failed_jobs": len(view.failed)}
    for number, front in enumerate(view.fronts, start=1):
        prefix = f"rewards_{number}/" if len(view.fronts) > 1 else ""
        best = max(front.jobs, key=lambda one: one.hypervolume)
        found |= {
            f"{prefix}joint_hypervolume": front.hypervolume,
            f"{prefix}joint_front_points": len(front.members),
            f"{prefix}best_job": best.job.name,
            f"{prefix}best_job_hypervolume": best.hypervolume,
        }
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
