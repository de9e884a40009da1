"""A sweep's figure, records and page: front.png, sweep.json and one self-contained report.html."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, select_autoescape
from plotly.offline import get_plotlyjs

from mva.analysis.comparison import setting_rows
from mva.analysis.facets import NOT_SET, Facet, facets, settings_of
from mva.analysis.sweep_record import sweep_record
from mva.analysis.sweep_view import JobFront, SweepView, sweep_view
from mva.records import write_json, write_text
from mva.report.figures import save
from mva.report.sweep_figures import draw_sweep, style_of
from mva.report.sweep_interactive import joint_figures
from mva.report.sweep_points import has_many_points, point_table, without_points
from mva.report.sweep_tables import APART, job_rows, setting_cells
from mva.report.tables import export_words
from mva.runs.sweep_folder import Job
from mva.shell import command_line, override

_SIGNS = "●■▲◆▼✚"
MOST_IN_LEGEND = 6
"""More settings would push the figure aside: then the marks in the table of jobs are the legend."""


def write_sweep(folder: Path, *, forms: Sequence[str] = ()) -> SweepView:
    """Write sweep.json, front.png (if a job has a front; also in `forms`) and report.html into the sweep folder.

    Everything that a user or a model wrote is escaped.

    Raises:
        UnreadableRun: If the folder holds no job, or a job's records are broken.
    """
    view = sweep_view(folder)
    write_json(folder / "sweep.json", sweep_record(view))
    if view.fronts:
        save(draw_sweep(view), folder, "front", forms=forms)
    environment = Environment(
        loader=PackageLoader("mva.report", "."), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # without the blanks
    columns, rows = job_rows(view)
    found = facets(view.jobs)
    page = environment.get_template("sweep.html.j2").render(
        view=view,
        columns=columns,
        rows=[(job, row, _sign(view, job), _settings(job, found)) for job, row in zip(view.jobs, rows, strict=True)],
        facets=found,
        apart=APART if len(view.fronts) > 1 else None,
        plotly=get_plotlyjs() if view.fronts else "",
        figures=_figures(view),
        link=_link,
        settings=[[(row.label, *setting_cells(row)) for row in setting_rows(front)] for front in view.fronts],
        job_data={one.job.name: _data(one) for front in view.fronts for one in front.jobs},
    )
    write_text(folder / "report.html", page, errors="backslashreplace")
    return view


def _link(job: Job) -> str:
    return quote(f"{job.name}/report.html")


def _data(one: JobFront) -> dict[str, Any]:
    """What a click on a job's candidate leads to: the job's page, and the export command around the candidate's word.

    `words` holds the words of those ids that a shell or Hydra would not read as they are; of others it is
    `candidate=<id>`.
    """
    ids = [candidate.id for candidate in one.view.candidates]
    program, run, _, *composition = export_words(one.run, ids[0])
    words = {id_: override("candidate", id_) for id_ in ids}
    return {
        "page": _link(one.job),
        "command": [command_line([program, run]), command_line(composition)],
        "words": {id_: command_line([word]) for id_, word in words.items() if word != f"candidate={id_}"},
    }


def _figures(view: SweepView) -> list[dict[str, Any]]:
    """Every joint front's figures as Plotly's JSON, and the table of points that they draw."""
    drawn = []
    for front in view.fronts:
        figures = joint_figures(front)
        if has_many_points(front):
            figures = figures[-1:]  # a browser takes longer for the others, and the matrix shows the same
        if len(front.drawn) > MOST_IN_LEGEND and not front.of_single_candidates:
            for figure in figures:
                figure.update_layout(showlegend=False)
        drawn.append({"points": point_table(front), "figures": [without_points(figure, front) for figure in figures]})
    return drawn


def _sign(view: SweepView, job: Job) -> tuple[str, str] | None:
    """The colour and the sign that a job's points have in the figures; None if it has none of its own."""
    for front in view.fronts:
        for number, (_, jobs) in enumerate(front.drawn):
            if any(one.job is job for one in jobs) and not front.of_single_candidates:
                colour, symbol = style_of(number)
                return colour, _SIGNS[0 if has_many_points(front) else symbol]
    return None


def _settings(job: Job, found: Sequence[Facet]) -> dict[str, str]:
    settings = settings_of(job)
    return {facet.key: settings.get(facet.key, NOT_SET) for facet in found}
