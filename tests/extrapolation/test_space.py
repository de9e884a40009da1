import pytest

from mva.extrapolation.candidate import Candidate
from mva.extrapolation.space import CoefficientSpace


def test_a_number_bounds_every_value_and_a_mapping_each_its_own():
    space = CoefficientSpace(("a", "b"), minimum=-0.5, maximum={"b": 2.0, "a": 1.0})
    assert space.lower == (-0.5, -0.5)
    assert space.upper == (1.0, 2.0)


def test_candidates_take_the_coefficients_in_the_order_of_the_values_and_the_composition():
    candidate = CoefficientSpace(("b", "a"), composition="ties").candidate([0.25, 1])
    assert candidate == Candidate({"b": 0.25, "a": 1.0}, "ties")


def test_coefficients_are_rounded_as_in_the_id():
    candidate = CoefficientSpace(("a", "b")).candidate([0.1 + 0.2, -1e-9])
    assert candidate.coefficients == {"a": 0.3, "b": 0.0}
    assert str(candidate.coefficients["b"]) == "0.0"


def test_corners_are_the_base_and_each_vector_alone():
    assert [c.vector(("a", "b", "c")) for c in CoefficientSpace(("a", "b", "c")).corners()] == [
        (0, 0, 0),
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
    ]


def test_holds_its_bounds_but_nothing_beyond():
    space = CoefficientSpace(("a", "b"), minimum={"a": 0.0, "b": -1.0}, maximum=1.5)
    assert space.candidate([0, -1]) in space
    assert space.candidate([1.5, 1.5]) in space
    assert space.candidate([-0.1, 0]) not in space
    assert space.candidate([0, 1.6]) not in space


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_refuses_bounds_that_leave_no_box(low, high):
    with pytest.raises(
        ValueError, match=r"^(minimum is .* for 'a'.*choose a minimum below the maximum|(minimum|maximum) is (nan|inf))"
    ):
        CoefficientSpace(("a", "b"), minimum=low, maximum=high)


@pytest.mark.parametrize("bound", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}])
def test_refuses_bounds_for_other_values(bound):
    with pytest.raises(ValueError, match=r"^maximum has bounds for .*but the vectors are a, b"):
        CoefficientSpace(("a", "b"), maximum=bound)


@pytest.mark.parametrize("values", [(), ("a", "a")])
def test_refuses_no_values_and_a_value_twice(values):
    with pytest.raises(ValueError, match="each only once"):
        CoefficientSpace(values)
