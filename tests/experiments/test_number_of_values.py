"""Numbers of values: lattices counted by hand, hypervolumes from one reference point, a penalty that is linear in pairs."""

import pytest
import torch

from mva.models.value_vector import LowRank


@pytest.mark.parametrize(
    ("n_values", "evaluations", "expected"),
    [(2, 19, 17), (3, 20, 4), (4, 21, 3), (5, 22, 2), (5, 15, 1), (5, 16, 2), (3, 2, 1)],
)
def test_the_simplex_takes_no_more_evaluations_than_the_box(script, n_values, evaluations, expected):
    assert script("number_of_values").resolution(n_values, evaluations) == expected


def test_a_number_of_values_is_measured_by_hand(script, tmp_path, write_scored_run):
    values = ("helpful", "harmless", "honest")
    corners = {(1, 0, 0): (2, 0, 0), (0, 1, 0): (0, 2, 0), (0, 0, 1): (0, 0, 2)}
    write_scored_run(tmp_path / "3-box", values, {**corners, (1, 1, 1): (2, 2, 2)}, dependence=0.25)
    write_scored_run(tmp_path / "3-simplex", values, {**corners, (0.5, 0.5, 0): (1, 1, 0)})
    found = script("number_of_values").facts(tmp_path, 3)
    # The reference point is -0.2 in every value.
    assert found["hypervolume"]["box"] == pytest.approx(2.2**3)
    slabs = 3 * 2.2 * 0.2 * 0.2 - 2 * 0.2**3  # three bars that share a cube
    assert found["hypervolume"]["simplex"] == pytest.approx(slabs + 1.0 * 1.0 * 0.2)
    assert found["evaluations"] == {"box": 4, "simplex": 4}
    assert found["front_points"] == {"box": 1, "simplex": 4}
    assert found["training"] == {"pairs": 30, "seconds": 4.5}
    assert len(found["pairs"]) == 3


def test_the_table_shows_means_over_pairs_and_values(script, tmp_path, write_scored_run):
    scores = {(1, 0): (2, 0), (0, 1): (0, 2)}
    for name in ("2-box", "2-simplex"):
        write_scored_run(tmp_path / name, ("helpful", "harmless"), scores, dependence=0.25)
    number_of_values = script("number_of_values")
    table = number_of_values.table([number_of_values.facts(tmp_path, 2)])
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells == ["2", "20, 3", "0.25", "0.5", "0", "0.75", "-0.50", "1.00", "2 / 2", "2 / 2"]


def test_the_penalty_looks_at_every_earlier_vector_once(script, monkeypatch):
    """The clock moves with every estimate."""
    number_of_values, looked = script("number_of_values"), [0]

    class Counting(number_of_values.Correlation):
        def __call__(self, x, y):
            estimates = super().__call__(x, y)
            looked[0] += len(estimates)
            return estimates

    monkeypatch.setattr(number_of_values, "PENALTIES", {"counting": Counting()})
    monkeypatch.setattr(number_of_values.time, "process_time", lambda: float(looked[0]))
    generator = torch.Generator().manual_seed(0)
    vectors = [
        {"q": LowRank(torch.randn(2, 6, generator=generator), torch.randn(5, 2, generator=generator), 2.0)}
        for _ in range(4)
    ]
    (seconds,) = number_of_values.penalty_seconds(vectors).values()
    assert seconds == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("simplex", "expected"), [(2.0, 1.5), (0.0, float("nan"))])
def test_the_box_is_a_multiple_of_what_the_simplex_spans(script, simplex, expected):
    ratio = script("number_of_values").box_by_simplex({"hypervolume": {"box": 3.0, "simplex": simplex}})
    assert ratio == pytest.approx(expected, nan_ok=True)
