"""Self-contained pages (no network, open from disk), and a run's: figures, table and page from its folder."""

import csv
import io
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, select_autoescape
from plotly import io as plotly_io
from plotly.offline import get_plotlyjs

from mva.analysis.front_view import extremes, hypervolume_curve, side_by_side
from mva.analysis.indicators import indicator_rows
from mva.analysis.limits import ANY_CANDIDATE, Selection, choose
from mva.analysis.pair_agreement import pair_agreement
from mva.analysis.reward_checks import check_rows
from mva.analysis.series import is_one_front, series_of
from mva.analysis.sweep_view import JointFront, of_one_run
from mva.analysis.warnings import warnings
from mva.records import write_text
from mva.report import style
from mva.report.chooser import chooser
from mva.report.figures import draw_fronts, draw_hypervolume, draw_training, save
from mva.report.first_screen import first_screen
from mva.report.interactive import front_figures, hypervolume_figure, theme
from mva.report.interference_figures import draw_interference
from mva.report.limit_words import standing_rows
from mva.report.points import has_many_points, point_table, without_points
from mva.report.tables import front_rows, surface_lines
from mva.report.words import agreement_words, interval_words, meaning_words, rank_words
from mva.runs.run_folder import RunFiles, read_run

MOST_IN_LEGEND = 6
"""More settings would push the figure aside: then the marks in the table of jobs are the legend."""


def render(template: str, *, package: str = "mva.report", **context: Any) -> str:
    """Render a page from a template of `package`, which may extend those of the report.

    Everything that a user or a model wrote is escaped: a response that holds `<script>` is shown, not run.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("mva.report", ".")]),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # without the blanks
    environment.globals |= {"agreement_words": agreement_words, "rank_words": rank_words}
    environment.globals |= {
        "style": style,
        "plotly": get_plotlyjs(),
        "interval_words": interval_words,
        "meaning_words": meaning_words,
    }
    return environment.get_template(template).render(**context)


def drawn_front(front: JointFront) -> dict[str, Any]:
    """Describe a front's figures as Plotly's JSON, and the table of points that they draw (see `parts.html.j2`)."""
    figures = front_figures(front)
    if has_many_points(front):
        figures = figures[-1:]  # a browser takes longer for the others, and the matrix shows the same
    if len(series_of(front)) > MOST_IN_LEGEND and not is_one_front(front):
        for figure in figures:
            figure.update_layout(showlegend=False)
    return {"points": point_table(front), "figures": [without_points(figure, front) for figure in figures]}


def write_report(folder: Path, *, forms: Sequence[str] = ("svg", "pdf"), selection: Selection = ANY_CANDIDATE) -> Path:
    """Write figures/ (PNG and `forms`), front.csv and report.html from the folder's records; return the page's path.

    `selection` is what the page recommends a candidate by.

    Raises:
        UnreadableRun: If the folder is no run.
        ValueError: If the run has no front yet.
    """
    run = read_run(folder)
    front = of_one_run(run)
    view, curve = front.jobs[0].view, hypervolume_curve(front.jobs[0].view)
    save(draw_fronts([front]), folder / "figures", "front", forms=forms)
    save(draw_hypervolume(curve), folder / "figures", "hypervolume_curve", forms=forms)
    drawn = {"training": draw_training(run.metrics), "interference": draw_interference(run.interference)}
    pictures = {
        name: b64encode(save(figure, folder / "figures", name, forms=forms).read_bytes()).decode()
        for name, figure in drawn.items()
        if figure is not None
    }
    columns, rows = front_rows(view)
    table = io.StringIO(newline="")
    csv.writer(table).writerows([columns, *rows])
    write_text(folder / "front.csv", table.getvalue(), errors="backslashreplace")
    shown = extremes(view)
    answer = choose(run, view, selection)
    page = render(
        "run.html.j2",
        run=run,
        view=view,
        cards=first_screen(run, view, answer),
        limits=None if answer is None else standing_rows(answer),
        columns=columns,
        rows=rows,
        surface_lines=surface_lines(view),
        warnings=warnings(run),
        indicators=indicator_rows(run, view),
        checks=check_rows(run.reward_checks),
        drawn=drawn_front(front),
        by_pairs=_second_record(run),
        curve=_embed(theme(hypervolume_figure(curve)), "curve", height="260px"),
        pictures=pictures,
        chooser=chooser(run, view),
        shown=shown,
        samples=side_by_side(run, shown),
    )
    path = folder / "report.html"
    write_text(path, page, errors="backslashreplace")  # half a character is no UTF-8
    return path


def _second_record(run: RunFiles) -> dict[str, Any] | None:
    """What the page shows of the scores by preference pairs beside those of responses; None without."""
    if run.by_pairs is None:
        return None
    front = of_one_run(run.by_pairs)
    columns, rows = front_rows(front.jobs[0].view)
    return {
        "front": front,
        "drawn": drawn_front(front),
        "agreements": pair_agreement(run),
        "columns": columns,
        "rows": rows,
    }


def _embed(figure: object, identifier: str, *, height: str) -> str:
    html = plotly_io.to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=identifier,
        config={"responsive": True, "displaylogo": False, "showTips": False},
        default_height=height,
    )
    return str(html)
