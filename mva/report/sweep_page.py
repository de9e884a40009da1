"""A sweep's figure, records and page: front.png, sweep.json and one self-contained report.html."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, select_autoescape
from plotly import io as plotly_io
from plotly.offline import get_plotlyjs

from mva.records import write_json
from mva.report.figures import GREY, save
from mva.report.front_view import CandidateView
from mva.report.sweep_figures import draw_sweep, style_of
from mva.report.sweep_tables import APART, job_rows
from mva.report.sweep_view import JobFront, JointFront, SweepView, sweep_view

_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
_AXIS = {"gridcolor": "rgba(128,128,128,.25)", "zerolinecolor": "rgba(128,128,128,.4)"}


def write_sweep(folder: Path) -> SweepView:
    """Write sweep.json, front.png (if a job has a front) and report.html into the sweep folder.

    Everything that a user or a model wrote is escaped.

    Raises:
        UnreadableRun: If the folder holds no job, or a job's records are broken.
    """
    view = sweep_view(folder)
    write_json(folder / "sweep.json", view.to_json())
    if view.fronts:
        save(draw_sweep(view), folder, "front", forms=())
    columns, rows = job_rows(view)
    environment = Environment(
        loader=PackageLoader("mva.report", "."), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    page = environment.get_template("sweep.html.j2").render(
        view=view,
        columns=columns,
        rows=list(zip(view.jobs, rows, strict=True)),
        apart=APART if len(view.fronts) > 1 else None,
        plotly=get_plotlyjs() if view.fronts else "",
        figures=[_embed(joint_figure(front), f"front-{number}") for number, front in enumerate(view.fronts)],
        link=lambda job: quote(f"{job.name}/report.html"),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return view


def joint_figure(front: JointFront) -> go.Figure:
    """Draw one joint front: a strip for one value, a scatter for two, a scatter matrix for more."""
    figure = go.Figure()
    for name, members, marker in _traces(front):
        hover = [_hover(one, c) for one, c in members]
        candidates = [c for _, c in members]
        if len(front.values) > 2:
            figure.add_splom(
                dimensions=[{"label": v, "values": [c.scores[v] for c in candidates]} for v in front.values],
                name=name, marker=marker, text=hover, hoverinfo="text", diagonal_visible=False, showupperhalf=False,
            )  # fmt: skip
        else:
            figure.add_scatter(
                x=[c.scores[front.values[0]] for c in candidates], y=_heights(front, candidates),
                mode="markers", name=name, marker=marker, hovertext=hover, hoverinfo="text",
            )  # fmt: skip
    if len(front.values) == 2:
        x, y = front.staircase(*front.values)
        line = {"color": GREY, "width": 1.5, "dash": "dot"}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, name="joint front", hoverinfo="skip")
    if len(front.values) <= 2:
        figure.update_layout(
            xaxis={"title": f"{front.values[0]} score", **_AXIS},
            yaxis={"title": f"{front.values[-1]} score" if len(front.values) == 2 else "", **_AXIS},
        )
    return figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": "#7a7a7a"},
        margin={"l": 60, "r": 20, "t": 20, "b": 50}, legend={"orientation": "h", "y": -0.2},
    )  # fmt: skip


Members = list[tuple[JobFront, CandidateView]]


def _traces(front: JointFront) -> list[tuple[str, Members, dict[str, object]]]:
    """One trace a job; where every job is one candidate, one for the joint front and one for the others."""
    if front.of_single_candidates:
        others = [(one, c) for one in front.jobs for c in one.view.candidates if not all(one.joint)]
        groups = [("candidates", others, {"color": GREY, "size": 8}), ("on the joint front", front.members, _marker(0))]
        return [group for group in groups if group[1]]
    return [
        (one.label, [(one, c) for c in one.view.candidates], _marker(number, one))
        for number, one in enumerate(front.jobs)
    ]


def _marker(number: int, one: JobFront | None = None) -> dict[str, object]:
    colour, symbol = style_of(number)
    marker: dict[str, object] = {"color": colour, "symbol": _SYMBOLS[symbol], "size": 11}
    if one is not None:
        marker["size"] = [11 if c.on_front else 6 for c in one.view.candidates]
        marker["opacity"] = [1.0 if c.on_front else 0.35 for c in one.view.candidates]
        marker["line"] = {"color": "#888", "width": [2 if kept else 0 for kept in one.joint]}
    return marker


def _heights(front: JointFront, candidates: Sequence[CandidateView]) -> list[float]:
    return [c.scores[front.values[1]] if len(front.values) == 2 else 0.0 for c in candidates]


def _hover(one: JobFront, candidate: CandidateView) -> str:
    # Plotly reads a little HTML in hover texts: what a model or a user wrote must not become any.
    scores = ", ".join(f"{value} {score:.3f}" for value, score in candidate.scores.items())
    lines = [one.job.label, candidate.label, f"{candidate.id}: {scores}", *candidate.sample[:240].split("\n")]
    return "<br>".join(line.replace("&", "&amp;").replace("<", "&lt;") for line in lines)


def _embed(figure: go.Figure, identifier: str) -> str:
    html = plotly_io.to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=identifier,
        config={"responsive": True, "displaylogo": False, "showTips": False},
        default_height="560px",
    )
    return str(html)
