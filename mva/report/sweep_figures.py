"""A sweep's front for papers (PNG), drawn with matplotlib."""

import textwrap
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mva.analysis.front_view import BASE, CandidateView
from mva.analysis.sweep_view import JobFront, JointFront, SweepView
from mva.report.figures import BLUE, GREEN, GREY, ORANGE, VERMILION

PALETTE = (BLUE, VERMILION, GREEN, ORANGE, "#CC79A7", "#56B4E9", "#7a6a00")
MARKERS = ("o", "s", "^", "D", "v", "P")
_Z95 = 1.96
_MOST_INSIDE = 4
"""Settings whose legend finds room among the points; of more it stands below."""
_SHORT = 24
"""Characters of labels that stand in two columns."""


def draw_sweep(view: SweepView) -> Figure:
    """Draw every joint front: a strip for one value, a scatter for two, all pairs of values for more."""
    panels = [
        (front, x, y)
        for front in view.fronts
        for x, y in list(combinations(front.values, 2)) or [(front.values[0], front.values[0])]
    ]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    below = max(0.17 * len(front.drawn) if len(front.drawn) > _MOST_INSIDE else 0 for front in view.fronts)
    figure = Figure(figsize=(6.6 * columns, (5.4 + below) * rows + 0.6), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes, (front, x, y) in zip(grid, panels, strict=False):
        _draw_panel(axes, front, x, y)
        number = f"rewards {view.fronts.index(front) + 1}: " if len(view.fronts) > 1 else ""
        axes.set_title(f"{number}joint hypervolume {front.hypervolume:.3g}", fontsize=10)
    figure.suptitle(f"Pareto fronts of {sum(len(f.jobs) for f in view.fronts)} jobs", fontweight="bold")
    bars = "; bars: 95 % intervals over prompts" if any(front.of_single_candidates for front in view.fronts) else ""
    caption = f"Scores on validation prompts{bars}. {_reference(view)}"
    figure.supxlabel(textwrap.fill(caption, 88 * columns), fontsize=8)
    return figure


def style_of(number: int) -> tuple[str, int]:
    """Choose a setting's colour and the number of its marker; both change, and repeat together only after 42."""
    return PALETTE[number % len(PALETTE)], number % len(MARKERS)


def _reference(view: SweepView) -> str:
    if len(view.fronts) > 1:
        return "Each panel has rewards and a reference point of its own: compare within a panel only."
    front = view.fronts[0]
    point = ", ".join(f"{value} {number:.3g}" for value, number in front.reference_point.items())
    return f"Reference point: {point} ({front.reference_point_rule})."


def _draw_panel(axes: Axes, front: JointFront, x: str, y: str) -> None:
    if front.of_single_candidates:
        _draw_candidates(axes, front, x, y)
    else:
        for number, (label, jobs) in enumerate(front.drawn):
            _draw_jobs(axes, label, jobs, number, x, y)
        _scatter(axes, [c for _, c in front.members], x, y, s=110, facecolors="none", edgecolors="black",
                 linewidths=1.1, label="on the joint front", zorder=4)  # fmt: skip
        base = [c for one in front.jobs for c in one.view.candidates if c.kind == BASE][:1]
        _scatter(axes, base, x, y, s=70, marker="X", color="black", label="base", zorder=5)
    axes.set(xlabel=f"{x} score (higher is better)", ylabel=f"{y} score (higher is better)" if x != y else "")
    axes.grid(alpha=0.25)
    if front.of_single_candidates or len(front.drawn) <= _MOST_INSIDE:
        axes.legend(frameon=False, fontsize=7.5, loc="best")
    else:
        columns = 1 if max(len(label) for label, _ in front.drawn) > _SHORT else 2
        axes.legend(frameon=False, fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=columns)


def _draw_candidates(axes: Axes, front: JointFront, x: str, y: str) -> None:
    on_front = [c for _, c in front.members]
    others = [c for one in front.jobs for c in one.view.candidates if c not in on_front]
    _scatter(axes, others, x, y, s=28, color=GREY, alpha=0.7, linewidths=0, label="dominated")
    places = [_place(c, x, y) for c in on_front]
    axes.errorbar(
        [px for px, _ in places], [py for _, py in places],
        xerr=[_Z95 * c.errors[x] for c in on_front],
        yerr=[_Z95 * c.errors[y] for c in on_front] if x != y else None,
        fmt="o", color=BLUE, ecolor="#0072B255", elinewidth=1, markersize=7, label="joint front",
    )  # fmt: skip
    held = [c.held_out for c in on_front if c.held_out is not None]
    if held and x != y:
        axes.scatter([s[x] for s in held], [s[y] for s in held], s=46, facecolors="none", edgecolors=ORANGE,
                     linewidths=1.4, label="joint front, held-out prompts")  # fmt: skip
    if len(front.values) == 2:
        axes.plot(*front.staircase(x, y), color=BLUE, linewidth=1.2, alpha=0.7)
    for c, place in zip(on_front, places, strict=True):
        text = ", ".join(f"{omega:g}" for omega in c.coefficients.values())
        axes.annotate(text, place, textcoords="offset points", xytext=(7, 6), fontsize=8)


def _draw_jobs(axes: Axes, label: str, jobs: Sequence[JobFront], number: int, x: str, y: str) -> None:
    colour, marker = style_of(number)
    rest = [c for one in jobs for c in one.view.candidates if not c.on_front and c.kind != BASE]
    _scatter(axes, rest, x, y, s=14, marker=MARKERS[marker], color=colour, alpha=0.25, linewidths=0)
    volume = sum(one.hypervolume for one in jobs) / len(jobs)
    of = f" (mean of {len(jobs)})" if len(jobs) > 1 else ""
    fronts = [c for one in jobs for c in one.view.on_front]
    label = f"{textwrap.shorten(label, 60)}: {volume:.3g}{of}"
    _scatter(axes, fronts, x, y, s=46, marker=MARKERS[marker], color=colour, linewidths=0, label=label)
    for one in jobs if len(jobs[0].view.values) == 2 else ():
        axes.plot(*one.view.staircase(x, y), color=colour, linewidth=1.2, alpha=0.7)


def _scatter(axes: Axes, candidates: list[CandidateView], x: str, y: str, **style: Any) -> None:
    if candidates:
        places = [_place(c, x, y) for c in candidates]
        axes.scatter([px for px, _ in places], [py for _, py in places], **style)


def _place(candidate: CandidateView, x: str, y: str) -> tuple[float, float]:
    return candidate.scores[x], candidate.scores[y] if x != y else 0.0
