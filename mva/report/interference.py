"""The interference map: dependence between every two vectors, module by module (the paper's Fig. 7, and beyond it).

The paper looks at the A factors. Here what a vector reads (A), what it writes (B), the update itself and its effect
on real activations stand side by side, because vectors may interfere in one and not in another (arXiv 2604.16826).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

TITLES = {
    "A": "A: what both read\n(overlap of row spaces)",
    "B": "B: what both write\n(overlap of column spaces)",
    "update": "update B A\n(squared cosine)",
    "activations": "activations\n(squared cosine)",
}


@dataclass(frozen=True)
class Panel:
    """One heat map. Shape: `values` is `(layers, projections)`, NaN where a layer lacks a projection."""

    title: str
    layers: tuple[int, ...]
    projections: tuple[str, ...]
    values: np.ndarray
    chance: float


def panel(name: str, record: Mapping[str, Any]) -> Panel:
    """Order modules by layer (the first number in their names) and projection (the last word)."""
    places = {module: _place(module) for module in record["modules"]}
    layers = tuple(sorted({layer for layer, _ in places.values()}))
    projections = tuple(dict.fromkeys(projection for _, projection in places.values()))
    values = np.full((len(layers), len(projections)), np.nan)
    for module, (layer, projection) in places.items():
        values[layers.index(layer), projections.index(projection)] = record["modules"][module]
    return Panel(TITLES.get(name, name), layers, projections, values, record["chance"])


def draw_interference(record: Mapping[str, Any]) -> Figure | None:
    """Draw one row of heat maps for every two vectors; None where there are no two."""
    pairs = record.get("pairs", [])
    if not pairs:
        return None
    names = list(pairs[0]["panels"])
    figure = Figure(figsize=(3.1 * len(names), 4.2 * len(pairs)), layout="constrained")
    rows = figure.subplots(len(pairs), len(names), squeeze=False)
    for column, name in zip(rows.T, names, strict=True):
        shown = [panel(name, pair["panels"][name]) for pair in pairs]
        highest = max(float(np.nanmax(one.values)) for one in shown)
        images = [_draw(axes, one, highest) for axes, one in zip(column, shown, strict=True)]
        figure.colorbar(images[0], ax=column[-1], location="bottom")
    for axes, pair in zip(rows[:, 0], pairs, strict=True):
        axes.set_ylabel(f"{pair['first']} and {pair['second']}\nlayer")
    return figure


def _draw(axes: Axes, shown: Panel, highest: float) -> AxesImage:
    image = axes.imshow(shown.values, aspect="auto", cmap="cividis", vmin=0, vmax=highest, interpolation="nearest")
    axes.set_title(f"{shown.title}\nmean {np.nanmean(shown.values):.2g}, chance {shown.chance:.2g}", fontsize=9)
    axes.set_xticks(range(len(shown.projections)), shown.projections, rotation=45, ha="right", fontsize=8)
    step = max(1, len(shown.layers) // 10)
    axes.set_yticks(range(0, len(shown.layers), step), [str(layer) for layer in shown.layers[::step]], fontsize=8)
    return image


def _place(module: str) -> tuple[int, str]:
    number = re.search(r"\.(\d+)(?:\.|$)", f".{module}")
    return int(number.group(1)) if number else 0, module.rpartition(".")[2]
