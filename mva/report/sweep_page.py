"""A sweep's figure, records and page: front.png, sweep.json and one self-contained report.html."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mva.analysis.comparison import setting_rows
from mva.analysis.facets import NOT_SET, Facet, facets, settings_of
from mva.analysis.pair_agreement import pair_agreement
from mva.analysis.series import is_one_front
from mva.analysis.sweep_record import sweep_record
from mva.analysis.sweep_view import JobFront, JointFront, SweepView, sweep_view
from mva.records import write_json, write_text
from mva.report.figures import draw_fronts, save
from mva.report.page import drawn_front, render
from mva.report.points import has_many_points
from mva.report.style import CIRCLE, look_of
from mva.report.sweep_tables import APART, all_at_once, job_rows, setting_cells
from mva.report.tables import export_words
from mva.report.words import agreement_words
from mva.runs.sweep_folder import Job
from mva.shell import command_line, override


def write_sweep(folder: Path, *, forms: Sequence[str] = ()) -> SweepView:
    """Write sweep.json, front.png (if a job has a front; also in `forms`) and report.html into the sweep folder.

    Raises:
        UnreadableRun: If the folder holds no job, or a job's records are broken.
    """
    view = sweep_view(folder)
    write_json(folder / "sweep.json", sweep_record(view))
    if view.fronts:
        save(draw_fronts(view.fronts), folder, "front", forms=forms)
    columns, rows = job_rows(view)
    found = facets(view.jobs)
    page = render(
        "sweep.html.j2",
        view=view,
        columns=columns,
        rows=[(job, row, _sign(view, job), _settings(job, found)) for job, row in zip(view.jobs, rows, strict=True)],
        facets=found,
        apart=APART if len(view.fronts) > 1 else None,
        figures=[drawn_front(front) for front in view.fronts],
        link=_link,
        settings=[[(row.label, *setting_cells(row)) for row in setting_rows(front)] for front in view.fronts],
        by_pairs=[_second_front(front) for front in view.by_pairs],
        disagreements=list(_disagreements(view)),
        at_once=[all_at_once(setting_rows(front)) for front in view.fronts],
        job_data={one.job.name: _data(one) for front in view.fronts for one in front.jobs},
    )
    write_text(folder / "report.html", page, errors="backslashreplace")
    return view


def _second_front(front: JointFront) -> dict[str, Any]:
    """What the page shows of jobs' second records."""
    rows = setting_rows(front)
    settings = [(row.label, *setting_cells(row)) for row in rows]
    return {"front": front, "drawn": drawn_front(front), "settings": settings, "at_once": all_at_once(rows)}


def _disagreements(view: SweepView) -> Iterator[str]:
    """Say where responses and pairs rank a job's candidates differently."""
    for front in view.fronts:
        for job in front.jobs:
            for agreement in pair_agreement(job.run):
                if agreement.word == "disagree":
                    yield f"{job.label}: {agreement_words(agreement)}"


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


def _sign(view: SweepView, job: Job) -> tuple[str, str] | None:
    """The colour and the sign that a job's points have in the figures; None if it has none of its own."""
    for front in view.fronts:
        for number, (_, jobs) in enumerate(front.drawn):
            if any(one.job is job for one in jobs) and not is_one_front(front):
                look = look_of(number)
                return look.colour, (CIRCLE if has_many_points(front) else look.mark).sign
    return None


def _settings(job: Job, found: Sequence[Facet]) -> dict[str, str]:
    settings = settings_of(job)
    return {facet.key: settings.get(facet.key, NOT_SET) for facet in found}
