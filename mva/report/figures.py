"""Static figures for papers (PNG, SVG, PDF), drawn with matplotlib."""

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from io import BytesIO
from itertools import combinations, cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mva.analysis.front_view import BASE, CandidateView
from mva.analysis.series import Series, is_one_front, series_of
from mva.analysis.sweep_view import JointFront
from mva.records import write_bytes
from mva.report.style import BLUE, GREEN, ORANGE, PALETTE, look_of
from mva.runs.run_folder import Record

_MOST_INSIDE = 6
"""Series whose legend finds room among the points; of more it stands below."""
_SHORT = 24
"""Characters of labels that stand in two columns."""
_POINTS_A_PIXEL = 0.62


def draw_fronts(fronts: Sequence[JointFront]) -> Figure:
    """Draw every joint front, or a run's: a strip for one value, a scatter for two, all pairs of values for more."""
    panels = [
        (front, x, y)
        for front in fronts
        for x, y in list(combinations(front.values, 2)) or [(front.values[0], front.values[0])]
    ]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    most = max(len(series_of(front)) for front in fronts)
    below = 0.17 * most if most > _MOST_INSIDE else 0.0
    figure = Figure(figsize=(6.6 * columns, (5.4 + below) * rows + 0.6), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes, (front, x, y) in zip(grid, panels, strict=False):
        _draw_panel(axes, front, x, y)
        if len(fronts) > 1 or len(front.jobs) > 1:
            number = f"rewards {list(fronts).index(front) + 1}: " if len(fronts) > 1 else ""
            axes.set_title(f"{number}joint hypervolume {front.hypervolume:.3g}", fontsize=10)
    figure.suptitle(_title(fronts), fontweight="bold")
    bars = "; bars: 95 % intervals over prompts" if any(map(is_one_front, fronts)) else ""
    what = "preference pairs" if fronts[0].scored_by == "pairs" else "prompts"
    caption = f"Scores on validation {what}{bars}. {_reference(fronts)}"
    figure.supxlabel(textwrap.fill(caption, 88 * columns), fontsize=8)
    return figure


def draw_training(metrics: Sequence[Record]) -> Figure | None:
    """Draw loss, accuracy and dependence of every value's training; None if nothing was trained."""
    series: dict[str, dict[str, tuple[list[int], list[float]]]] = defaultdict(dict)
    for line in metrics:
        for name, number in line.items():
            stage, _, rest = name.partition("/")
            value, _, metric = rest.rpartition("/")
            if stage == "train" and metric in ("preference_loss", "accuracy", "dependence"):
                steps, numbers = series[metric].setdefault(value, ([], []))
                steps.append(line["step"])
                numbers.append(number)
    if not series:
        return None
    # Not every metric has every value (the first one has no dependence): a value keeps its colour in all panels.
    values = dict.fromkeys(value for by_value in series.values() for value in by_value)
    colours = dict(zip(values, cycle(PALETTE), strict=False))
    figure = Figure(figsize=(5 * len(series), 3.4), layout="constrained")
    for axes, (metric, by_value) in zip(
        figure.subplots(1, len(series), squeeze=False).flat, series.items(), strict=True
    ):
        for value, (steps, numbers) in by_value.items():
            axes.plot(steps, numbers, color=colours[value], label=value, linewidth=1.2)
        axes.set(title=metric.replace("_", " "), xlabel="batch")
        axes.grid(alpha=0.25)
    figure.axes[0].legend(frameon=False)
    return figure


def draw_hypervolume(curve: Sequence[float]) -> Figure:
    """Draw the hypervolume of the first 1, 2, ... candidates."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(curve) + 1), curve, color=BLUE)
    axes.set(xlabel="evaluated candidates", ylabel="hypervolume")
    axes.grid(alpha=0.25)
    return figure


def save(figure: Figure, folder: Path, name: str, *, forms: Sequence[str] = ("svg", "pdf")) -> Path:
    """Write a figure as PNG and in further forms; return the PNG's path."""
    folder.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not again for every form
    dpi = min(160.0, 3600 / max(figure.get_size_inches()))  # a page with all pairs of many values stays small
    for form in {"png", *forms}:
        drawn = BytesIO()
        figure.savefig(drawn, dpi=dpi, format=form)
        write_bytes(folder / f"{name}.{form}", drawn.getvalue())  # never through a link
    return folder / f"{name}.png"


def _title(fronts: Sequence[JointFront]) -> str:
    jobs = [job for front in fronts for job in front.jobs]
    if len(jobs) > 1:
        return f"Pareto fronts of {len(jobs)} jobs"
    held_out = jobs[0].hypervolume_held_out
    return f"Pareto front: hypervolume {jobs[0].hypervolume:.3g}" + (
        "" if held_out is None else f", held out {held_out:.3g}"
    )


def _reference(fronts: Sequence[JointFront]) -> str:
    if len(fronts) > 1:
        return "Each panel has rewards and a reference point of its own: compare within a panel only."
    (front,) = fronts
    point = ", ".join(f"{value} {number:.3g}" for value, number in front.reference_point.items())
    return f"Reference point: {point} ({front.reference_point_rule})."


def _draw_panel(axes: Axes, front: JointFront, x: str, y: str) -> None:
    drawn = series_of(front)
    for series in drawn:
        _draw_series(axes, series, x, y)
    if not is_one_front(front):
        _scatter(axes, [c for _, c in front.members], x, y, size=17, hollow="black", label="on the joint front")
        base = [c for job in front.jobs for c in job.view.candidates if c.kind == BASE][:1]
        _scatter(axes, base, x, y, size=12, marker="X", color="black", label="base")
    axes.set(xlabel=f"{x} score (higher is better)", ylabel=f"{y} score (higher is better)" if x != y else "")
    axes.grid(alpha=0.25)
    if len(drawn) <= _MOST_INSIDE:
        axes.legend(frameon=False, fontsize=7.5, loc="best")
    else:
        columns = 1 if max(len(series.label) for series in drawn) > _SHORT else 2
        axes.legend(frameon=False, fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=columns)


def _draw_series(axes: Axes, series: Series, x: str, y: str) -> None:
    look = look_of(series.style)
    label = textwrap.shorten(series.label, 60) + (f": {series.note}" if series.note else "")
    for on_front in (False, True):
        group = [c for c, there in zip(series.candidates, series.on_front, strict=True) if there is on_front]
        named = label if on_front or not any(series.on_front) else None
        style: dict[str, Any] = {
            "marker": look.mark.matplotlib,
            "color": look.colour,
            "alpha": look.opacity(on_front=on_front),
        }
        _scatter(axes, group, x, y, size=look.size(on_front=on_front), label=named, **style)
    if look.bars:
        xs, ys = _places(series.candidates, x, y)
        bars = [[c.half_interval(value) for c in series.candidates] for value in (x, y)]
        axes.errorbar(
            xs, ys, xerr=bars[0], yerr=bars[1] if x != y else None, fmt="none", ecolor=look.colour, alpha=0.35,
            elinewidth=1,
        )  # fmt: skip
    for border in series.borders:
        axes.plot(*border, color=look.colour, linewidth=1.2, alpha=0.7)
    if series.held_out and x != y:
        held_out = [c.held_out for c in series.candidates if c.held_out is not None]
        places = [s[x] for s in held_out], [s[y] for s in held_out]
        rings: dict[str, Any] = {"facecolors": "none", "edgecolors": ORANGE, "linewidths": 1.4}
        axes.scatter(*places, s=_area(11), label=f"{series.label}, held-out prompts", **rings)
    if look.bars:
        _draw_off_the_surface(axes, series, x, y)
    for name, place in zip(series.names, zip(*_places(series.candidates, x, y), strict=True), strict=False):
        axes.annotate(name, place, textcoords="offset points", xytext=(7, 6), fontsize=8, color=look.colour)


def _draw_off_the_surface(axes: Axes, series: Series, x: str, y: str) -> None:
    """Draw the series' scores read off a surface, with their intervals, where both values have one."""
    read_off = [c for c in series.candidates if {x, y} <= c.surface.keys()]
    if not read_off or x == y:
        return
    axes.errorbar(
        [c.surface[x] for c in read_off], [c.surface[y] for c in read_off],
        xerr=[c.half_band(x) for c in read_off], yerr=[c.half_band(y) for c in read_off],
        fmt="x", color=GREEN, ecolor=f"{GREEN}66", markersize=6, elinewidth=1,
        label=f"{series.label}, read off the surface",
    )  # fmt: skip


def _scatter(
    axes: Axes, candidates: Sequence[CandidateView], x: str, y: str, *, size: int, hollow: str = "", **style: Any
) -> None:
    if not candidates:
        return
    ring: dict[str, Any] = {"linewidths": 0, "zorder": 3}
    if hollow:
        ring = {"facecolors": "none", "edgecolors": hollow, "linewidths": 1.1, "zorder": 4}
    xs, ys = _places(candidates, x, y)
    axes.scatter(xs, ys, s=_area(size), **ring, **style)


def _places(candidates: Sequence[CandidateView], x: str, y: str) -> tuple[list[float], list[float]]:
    return [c.scores[x] for c in candidates], [c.scores[y] if x != y else 0.0 for c in candidates]


def _area(diameter: int) -> float:
    """The area in square points that matplotlib wants, of a diameter in pixels."""
    return (diameter * _POINTS_A_PIXEL) ** 2
