import math

import numpy as np

from mva.analysis.interference import panel
from mva.report.interference_figures import draw_interference


def test_modules_are_laid_out_by_layer_and_projection():
    modules = {"m.layers.10.attn.q": 0.3, "m.layers.2.attn.q": 0.1, "m.layers.2.attn.v": 0.2}
    shown = panel("A", {"modules": modules, "chance": 0.02})
    assert shown.layers == (2, 10)
    assert shown.projections == ("q", "v")
    assert shown.values[0].tolist() == [0.1, 0.2]
    assert shown.values[1, 0] == 0.3
    assert math.isnan(shown.values[1, 1])


def test_every_two_vectors_get_a_row_of_heat_maps_with_their_means():
    modules = {f"layers.{i}.q": i / 4 for i in range(3)}
    panels = {name: {"modules": modules, "chance": 0.125, "estimator": "x"} for name in ("A", "B")}
    record = {"pairs": [{"first": a, "second": b, "panels": panels} for a, b in ("ab", "ac", "bc")]}
    figure = draw_interference(record)
    maps = [axes for axes in figure.axes if axes.images]
    assert len(maps) == 6
    assert "mean 0.25, chance 0.12" in maps[0].get_title()
    assert maps[0].get_ylabel() == "a and b\nlayer"
    np.testing.assert_array_equal(maps[0].images[0].get_array().squeeze(), [0, 0.25, 0.5])


def test_one_vector_alone_has_no_map():
    assert draw_interference({"pairs": []}) is None
    assert draw_interference({}) is None
