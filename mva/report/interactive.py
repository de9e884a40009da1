"""Interactive figures for the pages, drawn with Plotly.

Every point says whose it is, so that a page can filter and choose: `customdata` is the name of its job, `ids` the
candidate's id and its job's number. What is drawn beside the candidates (lines, rings, held-out scores) has a `meta` or
no `ids`.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from mva.analysis.front_view import CandidateView
from mva.analysis.series import JOINT, Series, is_one_front, series_of
from mva.analysis.sweep_view import JobFront, JointFront
from mva.report.style import BLUE, GREEN, GREY, LETTERS, ORANGE, RING, look_of
from mva.terminal import visible

MOST_SAMPLES = 1000
"""Of responses in hover texts, so that the page stays small; beyond that only the jobs' own fronts have them."""
_AXIS = {"gridcolor": "rgba(128,128,128,.25)", "zerolinecolor": "rgba(128,128,128,.4)", "linecolor": GREY}
_WALL = {"gridcolor": GREY, "zerolinecolor": GREY, "showbackground": False}  # walls can't be see-through
_CLEAR = "rgba(0,0,0,0)"


def front_figures(front: JointFront) -> list[go.Figure]:
    """One value: a strip; two: a scatter; three: 3-D and a scatter matrix; more: parallel coordinates and matrix."""
    drawn = series_of(front)
    if len(front.values) <= 2:
        figures = [_scatter(front, drawn)]
    else:
        figures = [(_scatter_3d if len(front.values) == 3 else _parallel)(front, drawn), _matrix(front, drawn)]
    return [theme(figure) for figure in figures]


def theme(figure: go.Figure) -> go.Figure:
    """Let the figure look well on a light and on a dark page: no ground of its own, grey lines and letters."""
    axes = {"xaxis": _AXIS, "yaxis": _AXIS, "scene": dict.fromkeys(("xaxis", "yaxis", "zaxis"), _WALL)}
    figure.update_layout(
        template={"layout": axes}, paper_bgcolor=_CLEAR, plot_bgcolor=_CLEAR, font={"color": LETTERS},
        margin={"l": 60, "r": 20, "t": 40, "b": 50}, legend={"orientation": "h", "y": -0.2},
    )  # fmt: skip
    if any(trace.type == "scatter3d" for trace in figure.data):
        figure.update_layout(
            scene_camera={"eye": {"x": 1.6, "y": 1.6, "z": 0.9}}, margin={"l": 0, "r": 0, "b": 0}, legend={"y": -0.02}
        )
    return figure


def hypervolume_figure(curve: Sequence[float]) -> go.Figure:
    """Hypervolume of the first 1, 2, ... candidates."""
    figure = go.Figure(go.Scatter(x=list(range(1, len(curve) + 1)), y=list(curve), mode="lines", line={"color": BLUE}))
    return figure.update_layout(xaxis_title="evaluated candidates", yaxis_title="hypervolume", showlegend=False)


def plain(text: str) -> str:
    """Escape what a model or a user wrote: Plotly reads a little HTML in labels and hover texts."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;")


def _scatter(front: JointFront, drawn: Sequence[Series]) -> go.Figure:
    figure, x, y, two = go.Figure(), front.values[0], front.values[-1], len(front.values) == 2
    for series in drawn:
        bars = {}
        if look_of(series.style).bars:
            bars = {"error_x": _bars(series, x), **({"error_y": _bars(series, y)} if two else {})}
        figure.add_scatter(
            x=[c.scores[x] for c in series.candidates],
            y=[c.scores[y] if two else 0.0 for c in series.candidates],
            mode="markers", marker=_marker(series), hovertext=_hover(front, series), **bars, **_about(front, series),
        )  # fmt: skip
        if series.held_out and two:
            figure.add_scatter(**_held_out(front, series, x, y))
        if look_of(series.style).bars and two and any({x, y} <= c.surface.keys() for c in series.candidates):
            figure.add_scatter(**_off_the_surface(series, x, y))
    if two:
        xs, ys = front.staircase(x, y)
        alone = is_one_front(front)
        line = {"color": BLUE, "width": 1.2} if alone else {"color": GREY, "width": 1.5, "dash": "dot"}
        figure.add_scatter(x=xs, y=ys, mode="lines", line=line, name=JOINT, hoverinfo="skip", showlegend=not alone)
    return figure.update_layout(xaxis_title=plain(f"{x} score"), yaxis_title=plain(f"{y} score") if two else "")


def _held_out(front: JointFront, series: Series, x: str, y: str) -> dict[str, Any]:
    """The scores of a series on held-out prompts: hollow points that stand for the same candidates."""
    places = [c.held_out for c in series.candidates if c.held_out is not None]
    return {
        **_about(front, series),
        "x": [scores[x] for scores in places],
        "y": [scores[y] for scores in places],
        "mode": "markers",
        "name": f"{plain(series.label)}, held-out prompts",
        "marker": {"color": ORANGE, "size": 11, "symbol": "circle-open"},
        "hovertext": [f"held out: {plain(c.label)}" for c in series.candidates],
        "meta": {"held_out": True},
    }


def _off_the_surface(series: Series, x: str, y: str) -> dict[str, Any]:
    """The scores of a series read off a surface, with their intervals."""
    read_off = [c for c in series.candidates if {x, y} <= c.surface.keys()]
    bars = [
        {"type": "data", "array": [c.half_band(v) for c in read_off], "thickness": 1, "width": 0, "color": f"{GREEN}66"}
        for v in (x, y)
    ]
    return {
        "x": [c.surface[x] for c in read_off],
        "y": [c.surface[y] for c in read_off],
        "error_x": bars[0],
        "error_y": bars[1],
        "mode": "markers",
        "name": f"{plain(series.label)}, read off the surface",
        "marker": {"color": GREEN, "size": 9, "symbol": "x-thin-open"},
        "hovertext": [f"off the surface: {plain(c.label)}" for c in read_off],
        "hoverinfo": "text",
    }


def _scatter_3d(front: JointFront, drawn: Sequence[Series]) -> go.Figure:
    figure = go.Figure()
    axes = list(zip("xyz", front.values, strict=True))
    for series in drawn:
        # In 3-D, opacity and outlines are a trace's, not a point's: size alone tells a job's own front.
        look = look_of(series.style)
        places = {axis: [c.scores[v] for c in series.candidates] for axis, v in axes}
        marker = {"color": look.colour, "symbol": look.mark.solid, "opacity": 0.85, "size": _sizes(series, less=3)}
        about = _about(front, series)
        figure.add_scatter3d(**places, mode="markers", marker=marker, hovertext=_hover(front, series), **about)
    if not is_one_front(front):
        places = {axis: [c.scores[v] for _, c in front.members] for axis, v in axes}
        ring = {"color": LETTERS, "symbol": "circle-open", "size": 16}
        whose = [job.job.name for job, _ in front.members]
        figure.add_scatter3d(
            **places, mode="markers", name=JOINT, marker=ring, customdata=whose, hoverinfo="skip"
        )  # fmt: skip
    return figure.update_scenes(**{f"{axis}axis_title": plain(f"{v} score") for axis, v in axes})


def _parallel(front: JointFront, drawn: Sequence[Series]) -> go.Figure:
    """One line a candidate: grey, or in its series' colour if it is on the front that the series marks."""
    colours = [GREY, *dict.fromkeys(look_of(series.style).colour for series in drawn if any(series.on_front))]
    lines: dict[int, tuple[int, JobFront, CandidateView]] = {}
    for series in drawn:
        own = colours.index(look_of(series.style).colour) if any(series.on_front) else 0
        for c, job, on_front in zip(series.candidates, series.jobs, series.on_front, strict=True):
            lines.setdefault(id(c), (own if on_front else 0, job, c))
    ordered = sorted(lines.values(), key=lambda line: line[0] > 0)  # what is on a front is drawn last
    steps = [(k + edge) / len(colours) for k in range(len(colours)) for edge in (0, 1)]
    scale = [[step, colours[k // 2]] for k, step in enumerate(steps)]
    line = {"color": [k for k, _, _ in ordered], "colorscale": scale, "cmin": -0.5, "cmax": len(colours) - 0.5}
    dimensions = [{"label": plain(v), "values": [c.scores[v] for _, _, c in ordered]} for v in front.values]
    whose = _whose(front, [job for _, job, _ in ordered], [c for _, _, c in ordered])
    return go.Figure(go.Parcoords(dimensions=dimensions, line=line, **whose))


def _matrix(front: JointFront, drawn: Sequence[Series]) -> go.Figure:
    figure = go.Figure()
    for series in drawn:
        figure.add_splom(
            dimensions=[{"label": plain(v), "values": [c.scores[v] for c in series.candidates]} for v in front.values],
            marker={**_marker(series), "size": _sizes(series, less=3)}, text=_hover(front, series),
            diagonal_visible=False, showupperhalf=False, **_about(front, series),
        )  # fmt: skip
    return figure


def _about(front: JointFront, series: Series) -> dict[str, Any]:
    whose = _whose(front, series.jobs, series.candidates)
    return {"name": plain(series.label), "hoverinfo": "text", **whose}


def _whose(front: JointFront, jobs: Sequence[JobFront], candidates: Sequence[CandidateView]) -> dict[str, list[str]]:
    # Of points with equal ids Plotly draws one: a candidate's id alone would be that of its like in other jobs, too.
    number = {job.job.name: n for n, job in enumerate(front.jobs)}
    return {
        "customdata": [job.job.name for job in jobs],
        "ids": [f"{c.id} {number[job.job.name]}" for c, job in zip(candidates, jobs, strict=True)],
    }


def _bars(series: Series, value: str) -> dict[str, Any]:
    halves = [c.half_interval(value) for c in series.candidates]
    return {"type": "data", "array": halves, "thickness": 1, "width": 0, "color": f"{look_of(series.style).colour}66"}


def _marker(series: Series) -> dict[str, Any]:
    look = look_of(series.style)
    return {
        "color": look.colour,
        "symbol": look.mark.plotly,
        "size": _sizes(series),
        "opacity": _short([look.opacity(on_front=on_front) for on_front in series.on_front]),
        "line": {"color": RING, "width": _short([2 if joint else 0 for joint in series.joint])},
    }


def _sizes(series: Series, *, less: int = 0) -> float | Sequence[float]:
    look = look_of(series.style)
    return _short([max(5, look.size(on_front=on_front) - less) for on_front in series.on_front])


def _short(numbers: Sequence[float]) -> float | Sequence[float]:
    """Write equal numbers as one."""
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _hover(front: JointFront, series: Series) -> list[str]:
    few = sum(len(job.view.candidates) for job in front.jobs) <= MOST_SAMPLES
    return [_text(job, c, sample=few or c.on_front) for job, c in zip(series.jobs, series.candidates, strict=True)]


def _text(job: JobFront, candidate: CandidateView, *, sample: bool) -> str:
    scores = ", ".join(
        f"{value} {score:.3f} ± {candidate.errors[value]:.3f}" for value, score in candidate.scores.items()
    )
    lines = [*([job.job.label] if job.job.label else []), candidate.label, f"{candidate.id}: {scores}"]
    if sample:
        lines += candidate.sample[:240].split("\n")
    return "<br>".join(map(plain, lines))
