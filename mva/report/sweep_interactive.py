"""A sweep's interactive figures, drawn with Plotly; every point says whose job's it is, so that a page can filter."""

from collections.abc import Sequence

import plotly.graph_objects as go

from mva.analysis.front_view import CandidateView
from mva.analysis.sweep_view import JobFront, JointFront
from mva.report.figures import GREY
from mva.report.interactive import plain, theme
from mva.report.sweep_figures import PALETTE, style_of

JOINT = "front over all jobs"
MOST_SAMPLES = 1000
"""Of responses in hover texts, so that the page stays small; beyond that only the jobs' own fronts have them."""

_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
_SOLID = ("circle", "square", "diamond", "cross", "x", "circle-open")

Members = list[tuple[JobFront, CandidateView]]


def joint_figures(front: JointFront) -> list[go.Figure]:
    """One value: a strip; two: a scatter; three: 3-D and a scatter matrix; more: parallel coordinates and matrix.

    `customdata` of every point is the name of its job, `ids` the candidate's id and its job's number.
    """
    if len(front.values) <= 2:
        figures = [_scatter(front)]
    else:
        figures = [_scatter_3d(front) if len(front.values) == 3 else _parallel(front), _matrix(front)]
    return [theme(figure) for figure in figures]


def _scatter(front: JointFront) -> go.Figure:
    figure, x, y = go.Figure(), front.values[0], front.values[-1]
    for name, members, marker in _groups(front):
        figure.add_scatter(
            x=[c.scores[x] for _, c in members],
            y=[c.scores[y] if len(front.values) == 2 else 0.0 for _, c in members],
            mode="markers", name=name, marker=marker, hovertext=_hover(front, members), **_said(front, members),
        )  # fmt: skip
    if len(front.values) == 2:
        xs, ys = front.staircase(x, y)
        line = {"color": GREY, "width": 1.5, "dash": "dot"}
        figure.add_scatter(x=xs, y=ys, mode="lines", line=line, name=JOINT, hoverinfo="skip")
    return figure.update_layout(
        xaxis={"title": plain(f"{x} score")},
        yaxis={"title": plain(f"{y} score") if len(front.values) == 2 else ""},
    )


def _scatter_3d(front: JointFront) -> go.Figure:
    figure = go.Figure()
    axes = list(zip("xyz", front.values, strict=True))
    for number, (name, members, marker) in enumerate(_groups(front)):
        # In 3-D, opacity and outlines are a trace's, not a point's: size alone tells a job's own front.
        solid = {"color": marker["color"], "symbol": _SOLID[style_of(number)[1]], "opacity": 0.85}
        sizes = [9 if c.on_front else 5 for _, c in members]
        places = {axis: [c.scores[v] for _, c in members] for axis, v in axes}
        figure.add_scatter3d(
            **places, mode="markers", name=name, marker={**solid, "size": sizes},
            hovertext=_hover(front, members), **_said(front, members),
        )  # fmt: skip
    if not front.of_single_candidates:
        places = {axis: [c.scores[v] for _, c in front.members] for axis, v in axes}
        ring = {"color": "#7a7a7a", "symbol": "circle-open", "size": 16}
        figure.add_scatter3d(
            **places, mode="markers", name=JOINT, marker=ring, customdata=[o.job.name for o, _ in front.members],
            hoverinfo="skip",
        )  # fmt: skip
    return figure.update_scenes(**{f"{axis}axis_title": plain(f"{v} score") for axis, v in axes})


def _parallel(front: JointFront) -> go.Figure:
    """One line a candidate: grey, or in its setting's colour if it is on the job's own front."""
    drawn = enumerate(front.drawn)
    members = [(number, one, c) for number, (_, jobs) in drawn for one in jobs for c in one.view.candidates]
    members.sort(key=lambda member: member[2].on_front)
    shown = 1 if front.of_single_candidates else len(PALETTE)
    colours = [1 + number % shown if c.on_front else 0 for number, _, c in members]
    if front.of_single_candidates:
        colours = [int(all(one.joint)) for _, one, _ in members]
    steps = [(k + edge) / (shown + 1) for k in range(shown + 1) for edge in (0, 1)]
    scale = [[step, colour] for step, colour in zip(steps, [c for c in (GREY, *PALETTE) for _ in "12"], strict=False)]
    line = {"color": colours, "colorscale": scale, "cmin": -0.5, "cmax": shown + 0.5}
    dimensions = [{"label": plain(v), "values": [c.scores[v] for _, _, c in members]} for v in front.values]
    return go.Figure(
        go.Parcoords(dimensions=dimensions, line=line, **_whose(front, [(one, c) for _, one, c in members]))
    )


def _matrix(front: JointFront) -> go.Figure:
    figure = go.Figure()
    for name, members, marker in _groups(front):
        figure.add_splom(
            dimensions=[{"label": plain(v), "values": [c.scores[v] for _, c in members]} for v in front.values],
            name=name, marker=marker, text=_hover(front, members), diagonal_visible=False, showupperhalf=False,
            **_said(front, members),
        )  # fmt: skip
    return figure


def _said(front: JointFront, members: Members) -> dict[str, object]:
    return {**_whose(front, members), "hoverinfo": "text"}


def _whose(front: JointFront, members: Members) -> dict[str, list[str]]:
    # Of points with equal ids Plotly draws one: a candidate's id alone would be that of its like in other jobs, too.
    number = {one.job.name: n for n, one in enumerate(front.jobs)}
    return {
        "customdata": [one.job.name for one, _ in members],
        "ids": [f"{c.id} {number[one.job.name]}" for one, c in members],
    }


def _groups(front: JointFront) -> list[tuple[str, Members, dict[str, object]]]:
    """One trace a setting; where every job is one candidate, one for the joint front and one for the others."""
    if front.of_single_candidates:
        others = [(one, c) for one in front.jobs for c in one.view.candidates if not all(one.joint)]
        groups = [("candidates", others, {"color": GREY, "size": 8}), (f"on the {JOINT}", front.members, _marker(0))]
        return [group for group in groups if group[1]]
    return [
        (plain(label), [(one, c) for one in jobs for c in one.view.candidates], _marker(number, jobs))
        for number, (label, jobs) in enumerate(front.drawn)
    ]


def _marker(number: int, jobs: Sequence[JobFront] = ()) -> dict[str, object]:
    colour, symbol = style_of(number)
    marker: dict[str, object] = {"color": colour, "symbol": _SYMBOLS[symbol], "size": 11}
    if jobs:
        on_front = [c.on_front for one in jobs for c in one.view.candidates]
        marker["size"] = [11 if kept else 6 for kept in on_front]
        marker["opacity"] = [1.0 if kept else 0.35 for kept in on_front]
        marker["line"] = {"color": "#888", "width": [2 if kept else 0 for one in jobs for kept in one.joint]}
    return marker


def _hover(front: JointFront, members: Sequence[tuple[JobFront, CandidateView]]) -> list[str]:
    few = sum(len(one.view.candidates) for one in front.jobs) <= MOST_SAMPLES
    return [_text(one, c, sample=few or c.on_front) for one, c in members]


def _text(one: JobFront, candidate: CandidateView, *, sample: bool) -> str:
    scores = ", ".join(
        f"{value} {score:.3f} ± {candidate.errors[value]:.3f}" for value, score in candidate.scores.items()
    )
    lines = [one.job.label, candidate.label, f"{candidate.id}: {scores}"]
    if sample:
        lines += candidate.sample[:240].split("\n")
    return "<br>".join(map(plain, lines))
