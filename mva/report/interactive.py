"""Interactive figures for the page, drawn with Plotly."""

from collections.abc import Sequence

import plotly.graph_objects as go

from mva.analysis.front_view import BASE, CORNER, CandidateView, FrontView
from mva.report.figures import BLUE, GREY, ORANGE, VERMILION
from mva.terminal import visible

_Z95 = 1.96
_AXIS = {"gridcolor": "rgba(128,128,128,.25)", "zerolinecolor": "rgba(128,128,128,.4)", "linecolor": GREY}
_WALL = {"gridcolor": GREY, "zerolinecolor": GREY, "showbackground": False}  # walls can't be see-through
_CLEAR = "rgba(0,0,0,0)"


def front_figures(view: FrontView) -> list[go.Figure]:
    """One value: a strip; two: a scatter; three: 3-D and a scatter matrix; more: parallel coordinates and matrix."""
    if len(view.values) <= 2:
        return [_scatter(view)]
    return [_scatter_3d(view) if len(view.values) == 3 else _parallel(view), _matrix(view)]


def theme(figure: go.Figure) -> go.Figure:
    """Let the figure look well on a light and on a dark page: no ground of its own, grey lines and letters."""
    axes = {"xaxis": _AXIS, "yaxis": _AXIS, "scene": dict.fromkeys(("xaxis", "yaxis", "zaxis"), _WALL)}
    figure.update_layout(
        template={"layout": axes}, paper_bgcolor=_CLEAR, plot_bgcolor=_CLEAR, font={"color": "#7a7a7a"},
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


def _hover(c: CandidateView) -> str:
    sample = plain(c.sample[:240]).replace("\n", "<br>")
    scores = ", ".join(f"{v} {s:.3f}" for v, s in c.scores.items())
    return f"<b>{plain(c.label)}</b><br>{c.id}<br>scores: {plain(scores)}<br><br>{sample}"


def _bars(group: Sequence[CandidateView], value: str, *, visible: bool) -> dict[str, object]:
    return {"type": "data", "array": [_Z95 * c.errors[value] for c in group], "thickness": 0.6, "visible": visible}


def _groups(view: FrontView) -> list[tuple[str, list[CandidateView], str, str]]:
    others = [c for c in view.candidates if not c.on_front and c.kind not in (BASE, CORNER)]
    return [
        ("candidates", others, GREY, "circle"),
        ("front", view.on_front, BLUE, "circle"),
        ("single vectors", [c for c in view.candidates if c.kind == CORNER], VERMILION, "triangle-up"),
        ("base", [c for c in view.candidates if c.kind == BASE], "#CC79A7", "square"),
    ]


def _scatter(view: FrontView) -> go.Figure:
    x, y = view.values[0], view.values[-1]
    figure = go.Figure()

    def heights(candidates: Sequence[CandidateView]) -> list[float]:
        return [c.scores[y] if len(view.values) > 1 else 0.0 for c in candidates]

    for name, group, colour, symbol in _groups(view):
        if not group:
            continue
        figure.add_scatter(
            x=[c.scores[x] for c in group],
            y=heights(group),
            mode="markers",
            name=name,
            marker={"color": colour, "size": 11 if name != "candidates" else 7, "symbol": symbol},
            error_x=_bars(group, x, visible=name == "front"),
            error_y=_bars(group, y, visible=name == "front" and len(view.values) > 1),
            customdata=[c.id for c in group],
            hovertext=[_hover(c) for c in group],
            hoverinfo="text",
        )
    held = [c for c in view.on_front if c.held_out]
    if held and len(view.values) == 2:
        figure.add_scatter(
            x=[c.held_out[x] for c in held if c.held_out],
            y=[c.held_out[y] for c in held if c.held_out],
            mode="markers",
            name="front, held-out prompts",
            marker={"color": ORANGE, "size": 11, "symbol": "circle-open"},
            customdata=[c.id for c in held],
            hovertext=[f"held out: {plain(c.label)}" for c in held],
            hoverinfo="text",
        )
        xs, ys = view.staircase(x, y)
        figure.add_scatter(
            x=xs, y=ys, mode="lines", line={"color": BLUE, "width": 1.2}, hoverinfo="skip", showlegend=False
        )
    figure.update_layout(
        xaxis_title=plain(f"{x} score"), yaxis_title=plain(f"{y} score") if len(view.values) > 1 else ""
    )
    return figure


def _scatter_3d(view: FrontView) -> go.Figure:
    figure = go.Figure()
    for name, group, colour, symbol in _groups(view):
        if group:
            figure.add_scatter3d(
                **{axis: [c.scores[v] for c in group] for axis, v in zip("xyz", view.values, strict=True)},
                mode="markers",
                name=name,
                marker={"color": colour, "size": 5, "symbol": symbol if symbol != "triangle-up" else "diamond"},
                customdata=[c.id for c in group],
                hovertext=[_hover(c) for c in group],
                hoverinfo="text",
            )
    figure.update_scenes(
        **{f"{axis}axis_title": plain(f"{v} score") for axis, v in zip("xyz", view.values, strict=True)}
    )
    return figure


def _matrix(view: FrontView) -> go.Figure:
    figure = go.Figure()
    for name, group, colour, symbol in _groups(view):
        if group:
            figure.add_splom(
                dimensions=[{"label": plain(v), "values": [c.scores[v] for c in group]} for v in view.values],
                customdata=[c.id for c in group],
                name=name,
                marker={"color": colour, "size": 6, "symbol": symbol},
                diagonal_visible=False,
                showupperhalf=False,
                text=[_hover(c) for c in group],
                hoverinfo="text",
            )
    return figure


def _parallel(view: FrontView) -> go.Figure:
    dimensions = [{"label": plain(v), "values": [c.scores[v] for c in view.candidates]} for v in view.values]
    line = {"color": [int(c.on_front) for c in view.candidates], "colorscale": [[0, GREY], [1, BLUE]]}
    return go.Figure(go.Parcoords(dimensions=dimensions, line=line))
