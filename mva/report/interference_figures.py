"""The interference map, drawn: a row of heat maps for every two vectors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mva.analysis.interference import Panel, panel


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
