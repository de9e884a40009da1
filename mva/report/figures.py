"""Static figures for papers (PNG, SVG, PDF), drawn with matplotlib."""

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from io import BytesIO
from itertools import combinations
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mva.analysis.front_view import BASE, CORNER, CandidateView, FrontView
from mva.records import write_bytes
from mva.runs.run_folder import Record

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#9a9a9a"
_Z95 = 1.96


def draw_front(view: FrontView) -> Figure:
    """Draw the front: a strip for one value, a scatter for two, all pairs of values for more."""
    pairs = list(combinations(view.values, 2)) or [(view.values[0], view.values[0])]
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(6.4 * columns, 5.2 * rows), layout="constrained")
    for axes, (x, y) in zip(figure.subplots(rows, columns, squeeze=False).flat, pairs, strict=False):
        _draw_pair(axes, view, x, y)
    front = view.front
    held_out = "" if front.hypervolume_held_out is None else f", held out {front.hypervolume_held_out:.3g}"
    point = ", ".join(f"{value} {number:.3g}" for value, number in front.reference_point.items())
    figure.suptitle(f"Pareto front: hypervolume {front.hypervolume:.3g}{held_out}", fontweight="bold")
    caption = f"Bars: 95 % intervals over prompts. Reference point: {point} ({front.reference_point_rule})."
    figure.supxlabel(textwrap.fill(caption, 85 * columns), fontsize=8)
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
    colours = dict(zip(values, (BLUE, ORANGE, GREEN, VERMILION, GREY) * 9, strict=False))
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


def _draw_pair(axes: Axes, view: FrontView, x: str, y: str) -> None:
    def place(candidate: CandidateView) -> tuple[float, float]:
        return candidate.scores[x], candidate.scores[y] if x != y else 0.0

    others = [c for c in view.candidates if not c.on_front and c.kind not in (BASE, CORNER)]
    for label, group, marker in (
        ("candidate", [c for c in others if not c.convex], "o"),
        ("candidate, coefficients sum to 1", [c for c in others if c.convex], "D"),
    ):
        if group:
            axes.scatter(
                [place(c)[0] for c in group],
                [place(c)[1] for c in group],
                s=22,
                marker=marker,
                color=GREY,
                alpha=0.6,
                label=label,
                linewidths=0,
            )
    front = view.on_front
    axes.errorbar(
        [place(c)[0] for c in front],
        [place(c)[1] for c in front],
        xerr=[_Z95 * c.errors[x] for c in front],
        yerr=[_Z95 * c.errors[y] for c in front] if x != y else None,
        fmt="o", color=BLUE, ecolor="#0072B255", elinewidth=1, markersize=7, label="front (validation prompts)",
    )  # fmt: skip
    if len(view.values) == 2:
        axes.plot(*view.staircase(x, y), color=BLUE, linewidth=1.2, alpha=0.7)
    if x != y and all(c.held_out for c in front):
        held = [(c.held_out[x], c.held_out[y]) for c in front if c.held_out]
        axes.scatter(
            [h[0] for h in held],
            [h[1] for h in held],
            s=42,
            facecolors="none",
            edgecolors=ORANGE,
            linewidths=1.4,
            label="front (held-out prompts)",
        )
    for kind, marker, colour in ((BASE, "s", "black"), (CORNER, "^", VERMILION)):
        for candidate in (c for c in view.candidates if c.kind == kind):
            name = "base" if kind == BASE else max(candidate.coefficients, key=lambda v: candidate.coefficients[v])
            axes.scatter(
                *place(candidate), marker=marker, s=70, color=colour, zorder=4, label="base" if kind == BASE else None
            )
            axes.annotate(name, place(candidate), textcoords="offset points", xytext=(8, -12), fontsize=9, color=colour)
    axes.set(xlabel=f"{x} score (higher is better)", ylabel=f"{y} score (higher is better)" if x != y else "")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="best")
