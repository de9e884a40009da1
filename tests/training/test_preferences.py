"""Preference weights: the lattice, the names, and whose pair comes when."""

import pytest

from mva.training.preferences import interleave, name_of, simplex_lattice, weight_lattice


def test_the_lattice_is_every_way_to_share_out():
    assert list(simplex_lattice(2, 2)) == [(2, 0), (1, 1), (0, 2)]
    assert len(list(simplex_lattice(4, 3))) == 15
    assert all(sum(parts) == 4 for parts in simplex_lattice(4, 3))


def test_a_value_of_no_weight_is_left_out():
    assert weight_lattice(["a", "b"], 2) == [{"a": 1.0}, {"a": 0.5, "b": 0.5}, {"b": 1.0}]


def test_names_tell_weights_apart_and_have_no_dot():
    names = [name_of(weights) for weights in weight_lattice(["a", "b", "c"], 8)]
    assert len(set(names)) == len(names)
    assert name_of({"a": 0.125, "b": 0.875}) == "a_12p5-b_87p5"


@pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 0.75, "b": 0.25}, {"a": 0.5, "b": 0.3, "c": 0.2}])
def test_at_any_time_every_value_has_had_its_share(weights):
    order = interleave(weights, 60)
    for k in range(1, 61):
        assert all(abs(order[:k].count(value) - weight * k) < 1 for value, weight in weights.items())
