"""The interference map: dependence between every two vectors, module by module (the paper's Fig. 7, and beyond it).

The paper looks at the A factors. Here what a vector reads (A), what it writes (B), the update itself and its effect
on real activations stand side by side, because vectors may interfere in one and not in another (arXiv 2604.16826).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

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


def _place(module: str) -> tuple[int, str]:
    number = re.search(r"\.(\d+)(?:\.|$)", f".{module}")
    return int(number.group(1)) if number else 0, module.rpartition(".")[2]
