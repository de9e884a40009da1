"""A sweep's facts as tables: for the terminal (rich) and for the page (plain rows)."""

import textwrap
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.markup import escape
from rich.table import Table

from mva.analysis.comparison import SettingRow, setting_rows
from mva.analysis.facets import NOT_SET, facets, settings_of, short_names
from mva.analysis.pair_agreement import raw_correlations
from mva.analysis.sweep_view import JobFront, JointFront, SweepView
from mva.report.words import difference_words, interval_words, score_words
from mva.runs.sweep_folder import Job
from mva.statistics.comparison import chance_line

APART = (
    "These jobs were not scored by the same rewards (another seed, other data or other values give other reward "
    "heads): their scores have different scales. Each set of rewards has a front of its own; hypervolumes compare only "
    "within one."
)
AGREEMENT = "rank correlation with pairs"
MOST_KEYS = 5
"""More keys than these would leave a terminal's columns no room: then a job is named by all of them in one column."""
_WHOLE = 24
"""Cells up to so many characters are not broken: a setting in pieces can't be read."""

Columns = Mapping[str, Sequence[str]]


def job_rows(view: SweepView) -> tuple[list[str], list[list[str]]]:
    """Columns and rows, one a job, as text: what it was, how it ended, what it found.

    Hypervolumes are measured from the common reference point.
    """
    single = bool(view.fronts) and all(front.of_single_candidates for front in view.fronts)
    columns = ["job", "status"]
    if len(view.fronts) > 1:
        columns.append("rewards")
    values = view.fronts[0].values if single else ()
    columns += [f"{value} score (held out)" for value in values]
    if not single:
        columns += ["hypervolume", "held out", "front points"]
    columns += ["on the joint front", *([AGREEMENT] if view.by_pairs else []), "time"]
    return columns, [_row(view, job, columns, values) for job in view.jobs]


def setting_cells(row: SettingRow) -> list[str]:
    """Say a setting in words: jobs, hypervolume, held out, and the difference from the first setting."""
    held_out = "-" if row.held_out is None else interval_words(row.held_out)
    return [str(len(row.jobs)), f"{row.hypervolume:.4g}", held_out, difference_words(row.difference)]


def sweep_summary(view: SweepView) -> RenderableType:
    """Lay out what is said when a multirun ends: jobs, settings, what failed and why, where everything is."""
    parts: list[RenderableType] = [_job_table(view), ""]
    if len(view.fronts) > 1:
        parts.append(f"[yellow]Note:[/] {APART}")
    for front in view.fronts:
        if rows := setting_rows(front):
            parts += [_setting_table(rows), *map(escape, all_at_once(rows)), ""]
        parts.append(
            f"Joint front of {escape(' and '.join(front.values))}: hypervolume [bold]{front.hypervolume:.4g}[/], "
            f"{len(front.members)} points of {len(front.jobs)} jobs. {escape(measured_from(front))}"
        )
    for front in view.by_pairs:
        if rows := setting_rows(front):
            parts += [_setting_table(rows, by="by preference pairs"), *map(escape, all_at_once(rows)), ""]
    if view.failed:
        parts.append(_failures(view.failed))
    parts.append(f"Everything is in [bold]{escape(str(view.folder))}[/]: report.html, front.png, sweep.json")
    return Group(*parts)


def all_at_once(rows: Sequence[SettingRow]) -> list[str]:
    """Say of several comparisons what chance alone would give, and which hold all at once; nothing of a single one."""
    compared = [(row.label, row.difference) for row in rows if row.difference is not None]
    if len(compared) < 2:
        return []
    sure = [label for label, difference in compared if difference.simultaneous.word in ("better", "worse")]
    return [f"{chance_line(len(compared))} All at once hold: {', '.join(sure) or 'none'} (Holm)."]


def measured_from(front: JointFront) -> str:
    """Name the reference point, without which a hypervolume says nothing."""
    point = ", ".join(f"{value} {number:.3g}" for value, number in front.reference_point.items())
    return f"Hypervolumes are measured from {point} ({front.reference_point_rule})."


def _job_table(view: SweepView) -> Table:
    """The jobs; what none of them has found, and that all of them finished, is not said of each."""
    headings, rows = job_rows(view)
    columns = dict(zip(headings, zip(*rows, strict=True), strict=True))
    named = _named("job", columns.pop("job"), [facet.key for facet in facets(view.jobs)], view.jobs)
    told = {heading: cells for heading, cells in columns.items() if set(cells) not in ({"-"}, {"finished"})}
    return _table(f"Sweep of {len(view.jobs)} jobs", named, told)


def _setting_table(rows: Sequence[SettingRow], *, by: str = "mean over their jobs") -> Table:
    first = [row.jobs[0].job for row in rows]
    keys = [facet.key for facet in facets(first) if facet.key != "seed"]
    headings = ["jobs", "hypervolume", "held out (95 % interval)", "against the first, held out"]
    cells = zip(*([cell.replace(" (", "\n(", 1) for cell in setting_cells(row)] for row in rows), strict=True)
    named = _named("setting", [row.label for row in rows], keys, first)
    known = {heading: some for heading, some in zip(headings, cells, strict=True) if set(some) != {"-"}}
    return _table(f"Settings, {by}", named, known)


def _named(what: str, labels: Sequence[str], keys: Sequence[str], jobs: Sequence[Job]) -> Columns:
    """What tells the jobs apart: a column for each key, or (where these are many) one for all."""
    if not 0 < len(keys) <= MOST_KEYS:
        return {what: labels}
    return {
        name: [settings_of(job).get(key, NOT_SET) for job in jobs]
        for key, name in zip(keys, short_names(keys), strict=True)
    }


def _table(title: str, named: Columns, found: Columns) -> Table:
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False
    )
    for heading, cells in [*named.items(), *found.items()]:
        width = max(len(line) for cell in cells for line in cell.split("\n"))
        justify: JustifyMethod = "left" if heading in named or heading == "status" else "right"
        broken = textwrap.fill(heading, max(width, 6), break_long_words=False, break_on_hyphens=False)
        table.add_column(broken, justify=justify, overflow="fold", no_wrap=width <= _WHOLE)
    for row in zip(*named.values(), *found.values(), strict=True):
        table.add_row(*map(escape, row))
    return table


def _row(view: SweepView, job: Job, columns: list[str], values: tuple[str, ...]) -> list[str]:
    one = view.front_of(job)
    cells = {"job": job.label, "status": job.status, "time": _seconds(job.outcome.seconds)}
    if one is not None:
        group = next(number for number, front in enumerate(view.fronts, start=1) if one in front.jobs)
        cells |= {"rewards": str(group), **_found(one)}
        cells |= {f"{value} score (held out)": score_words(one.view.candidates[0], value) for value in values}
    return [cells.get(column, "-") for column in columns]


def _found(one: JobFront) -> dict[str, str]:
    held_out = one.hypervolume_held_out
    return {
        "hypervolume": f"{one.hypervolume:.4g}",
        "held out": "-" if held_out is None else f"{held_out:.4g}",
        "front points": f"{len(one.view.on_front)} of {len(one.view.candidates)}",
        "on the joint front": str(len(one.on_joint_front)),
        AGREEMENT: ", ".join(f"{value} {rho:.2f}" for value, rho in raw_correlations(one.run).items()) or "-",
    }


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f} s"


def _failures(failed: list[Job]) -> Table:
    table = Table(title=f"{len(failed)} failed (the same command tries them again)", title_justify="left", style="red")
    table.add_column("job", overflow="fold")
    table.add_column("why", overflow="fold")
    for job in failed:
        table.add_row(escape(job.label), escape(job.outcome.error or ""))
    return table
