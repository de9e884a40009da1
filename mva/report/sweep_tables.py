"""A sweep's facts as tables: for the terminal (rich) and for the page (plain rows)."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from mva.report.sweep_files import Job
from mva.report.sweep_view import JobFront, SweepView

APART = (
    "These jobs were not scored by the same rewards (another seed, other data or other values give other reward "
    "heads): their scores have different scales. Each set of rewards has a front of its own; hypervolumes compare only "
    "within one."
)


def job_rows(view: SweepView) -> tuple[list[str], list[list[str]]]:
    """Columns and rows, one a job, as text: what it was, how it ended, what it found."""
    single = bool(view.fronts) and all(front.of_single_candidates for front in view.fronts)
    columns = ["job", "status"]
    if len(view.fronts) > 1:
        columns.append("rewards")
    values = view.fronts[0].values if single else ()
    columns += [f"{value} score (held out)" for value in values]
    if not single:
        columns += ["hypervolume", "from the common reference", "held out", "front points"]
    columns += ["on the joint front", "time"]
    return columns, [_row(view, job, columns, values) for job in view.jobs]


def sweep_summary(view: SweepView) -> RenderableType:
    """Lay out what is said when a multirun ends: every job, what failed and why, where everything is."""
    columns, rows = job_rows(view)
    table = Table(title=f"Sweep of {len(view.jobs)} jobs", title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("job", "status") else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    parts: list[RenderableType] = [table]
    if len(view.fronts) > 1:
        parts.append(f"[yellow]Note:[/] {APART}")
    for front in view.fronts:
        parts.append(
            f"Hypervolume of the joint front of {' and '.join(front.values)}: [bold]{front.hypervolume:.4g}[/] "
            f"({len(front.members)} points of {len(front.jobs)} jobs)"
        )
    if view.failed:
        parts.append(_failures(view.failed))
    parts.append(f"Everything is in [bold]{escape(str(view.folder))}[/]: report.html, front.png, sweep.json")
    return Group(*parts)


def _row(view: SweepView, job: Job, columns: list[str], values: tuple[str, ...]) -> list[str]:
    one = view.front_of(job)
    cells = {"job": job.label, "status": job.status, "time": _seconds(job.outcome.seconds)}
    if one is not None:
        group = next(number for number, front in enumerate(view.fronts, start=1) if one in front.jobs)
        cells |= {"rewards": str(group), **_found(one)}
        cells |= {f"{value} score (held out)": _score(one, value) for value in values}
    return [cells.get(column, "-") for column in columns]


def _found(one: JobFront) -> dict[str, str]:
    held_out = one.hypervolume_held_out
    return {
        "hypervolume": f"{one.own_hypervolume:.4g}",
        "from the common reference": f"{one.hypervolume:.4g}",
        "held out": "-" if held_out is None else f"{held_out:.4g}",
        "front points": f"{len(one.view.on_front)} of {len(one.view.candidates)}",
        "on the joint front": str(len(one.on_joint_front)),
    }


def _score(one: JobFront, value: str) -> str:
    candidate = one.view.candidates[0]
    held_out = "" if candidate.held_out is None else f" ({candidate.held_out[value]:.2f})"
    return f"{candidate.scores[value]:.2f} ± {candidate.errors[value]:.2f}{held_out}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f} s"


def _failures(failed: list[Job]) -> Table:
    table = Table(title=f"{len(failed)} failed (the same command tries them again)", title_justify="left", style="red")
    table.add_column("job", overflow="fold")
    table.add_column("why", overflow="fold")
    for job in failed:
        table.add_row(escape(job.label), escape(job.outcome.error or ""))
    return table
