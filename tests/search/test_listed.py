import pytest

from mva.extrapolation.space import CoefficientSpace
from mva.search.listed import Listed

SPACE = CoefficientSpace(("a", "b"))


def points(spec):
    return [candidate.vector(SPACE.values) for candidate in spec.start(SPACE, seed=0).ask()]


def test_asks_for_just_the_listed_candidates_even_outside_of_the_box():
    assert points(Listed([{"b": 2.0, "a": 0.5}, {"a": -1.0, "b": 0.0}])) == [(0.5, 2.0), (-1.0, 0.0)]


def test_the_same_candidate_twice_is_asked_for_once():
    assert points(Listed([{"a": 0.3, "b": 0.0}, {"a": 0.1 + 0.2, "b": 0.0}])) == [(0.3, 0.0)]


def test_corners_can_be_added():
    assert points(Listed([{"a": 0.5, "b": 0.5}], include_corners=True)) == [
        (0, 0),
        (1, 0),
        (0, 1),
        (0.5, 0.5),
    ]


@pytest.mark.parametrize("entry", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "honest": 1.0}, {}])
def test_refuses_missing_and_unknown_values_naming_the_entry(entry):
    with pytest.raises(ValueError, match=r"search\.candidates\[1\] has coefficients for .*the values are a, b"):
        Listed([{"a": 1.0, "b": 1.0}, entry]).start(SPACE, seed=0)


def test_refuses_an_empty_list():
    with pytest.raises(ValueError, match=r"^candidates is \[\]: choose a list"):
        Listed([]).start(SPACE, seed=0)
