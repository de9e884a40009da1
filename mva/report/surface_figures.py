"""Figures of a surface: curves along its rays, heat maps over its planes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mva.analysis.surface import ALL, Surface
from mva.pareto.dominance import Floats
from mva.report.style import GREY, PALETTE


def draw_curves(surface: Surface) -> Figure:
    """Draw every measure along every ray; bands are 95 % intervals, the dotted line is where the paper's box ends."""
    n = len(surface.measures)
    columns = min(3, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(4.6 * columns, 3.8 * rows), layout="constrained")
    panels, spare = np.split(figure.subplots(rows, columns, squeeze=False).flat, [n])
    for axes in spare:
        axes.remove()
    for number, (name, direction) in enumerate(surface.rays().items()):
        levels, ray = surface.along(direction)
        low, high = ray.intervals()
        label = name if name == ALL else f"{name} alone"
        for k, axes in enumerate(panels):
            colour = PALETTE[number % len(PALETTE)]
            axes.plot(levels, ray.means[:, k], marker="o", markersize=4, color=colour, label=label)
            axes.fill_between(levels, low[:, k], high[:, k], color=colour, alpha=0.13, linewidth=0)
    for axes, measure in zip(panels, surface.measures, strict=True):
        axes.axvline(1, color=GREY, linestyle=":", linewidth=1)
        axes.set(title=measure, xlabel="coefficient")
        axes.grid(alpha=0.25)
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def draw_planes(surface: Surface, *, title: str, marks: NDArray[np.bool_] | None = None) -> Figure | None:
    """Draw a heat map of every measure over every two vectors; None where there are no two.

    With `marks` `(n_candidates, n_measures)` the numbers are differences: colours part at 0, marked ones bear a cross.
    """
    planes = surface.planes()
    if not planes:
        return None
    rows, columns = len(planes), len(surface.measures)
    figure = Figure(figsize=(4.6 * columns, 4.0 * rows), layout="constrained")
    for axes_of_row, ((x, y), (at_x, at_y, which)) in zip(
        figure.subplots(rows, columns, squeeze=False), planes.items(), strict=True
    ):
        for k, axes in enumerate(axes_of_row):
            shown = np.where(which >= 0, surface.means[which, k], np.nan)
            _heat_map(axes, (at_x, at_y), shown, parted=marks is not None)
            if marks is not None:
                marked = np.argwhere((which >= 0) & marks[which, k])
                axes.plot(*marked.T, "x", color="black", markersize=7, linestyle="none")
            axes.set(title=surface.measures[k], xlabel=f"coefficient of {x}", ylabel=f"coefficient of {y}")
    figure.suptitle(title)
    return figure


def _heat_map(axes: Axes, levels: tuple[Floats, Floats], shown: Floats, *, parted: bool) -> None:
    far = float(np.nanmax(np.abs(shown))) or 1.0
    bounds = {"cmap": "PuOr", "vmin": -far, "vmax": far} if parted else {"cmap": "cividis"}
    image = axes.imshow(shown.T, origin="lower", aspect="auto", interpolation="nearest", **bounds)
    axes.set_xticks(range(len(levels[0])), [f"{level:g}" for level in levels[0]], fontsize=8)
    axes.set_yticks(range(len(levels[1])), [f"{level:g}" for level in levels[1]], fontsize=8)
    axes.figure.colorbar(image, ax=axes)
