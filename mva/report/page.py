"""One self-contained page from a run folder: no network, opens from disk."""

import csv
import io
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape
from plotly import io as plotly_io
from plotly.offline import get_plotlyjs

from mva.analysis.front_view import extremes, front_view, hypervolume_curve, side_by_side
from mva.analysis.indicators import indicator_rows
from mva.records import write_text
from mva.report.chooser import chooser
from mva.report.figures import draw_front, draw_hypervolume, draw_training, save
from mva.report.interactive import front_figures, hypervolume_figure, theme
from mva.report.interference_figures import draw_interference
from mva.report.tables import front_rows, warnings
from mva.runs.run_folder import read_run


def write_report(folder: Path, *, forms: Sequence[str] = ("svg", "pdf")) -> Path:
    """Write figures/ (PNG and `forms`), front.csv and report.html from the folder's records; return the page's path.

    Everything that a user or a model wrote is escaped: a response that holds `<script>` is shown, not run.

    Raises:
        UnreadableRun: If the folder is no run.
        ValueError: If the run has no front yet.
    """
    run = read_run(folder)
    view = front_view(run)
    save(draw_front(view), folder / "figures", "front", forms=forms)
    curve = hypervolume_curve(view)
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
    environment = Environment(
        loader=PackageLoader("mva.report", "."), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    page = environment.get_template("page.html.j2").render(
        run=run,
        view=view,
        columns=columns,
        rows=rows,
        warnings=warnings(run),
        indicators=indicator_rows(run, view),
        plotly=get_plotlyjs(),
        figures=[_embed(theme(figure), f"front-{i}") for i, figure in enumerate(front_figures(view))],
        curve=_embed(theme(hypervolume_figure(curve)), "curve", height="260px"),
        pictures=pictures,
        chooser=chooser(run, view),
        shown=shown,
        samples=side_by_side(run, shown),
    )
    path = folder / "report.html"
    write_text(path, page, errors="backslashreplace")  # half a character is no UTF-8
    return path


def _embed(figure: object, identifier: str, *, height: str = "520px") -> str:
    html = plotly_io.to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=identifier,
        config={"responsive": True, "displaylogo": False, "showTips": False},
        default_height=height,
    )
    return str(html)
