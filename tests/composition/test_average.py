import pytest
import torch

from mva.composition.average import Average
from mva.composition.linear import Linear
from mva.models.value_vector import LowRank, ValueVector


def vector(value, a, b, scaling=2.0):
    factor = LowRank(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64), scaling)
    return ValueVector(value, {"m": factor}, "base")


FIRST = vector("first", [[1.0, 0.0]], [[1.0], [0.0]])  # 2 e_1 e_1^T
SECOND = vector("second", [[0.0, 1.0]], [[0.0], [1.0]])  # 2 e_2 e_2^T


def update(composition, omega, vectors=(FIRST, SECOND)):
    coefficients = {v.value: w for v, w in zip(vectors, omega, strict=True)}
    return composition.compose(vectors, coefficients).factors["m"].update()


def test_factors_are_averaged_apart_with_cross_terms():
    # A = [.25 .75], B = [.25 .75]^T: s w_i w_j B_i A_j, where the exact combination is diag(0.5, 1.5).
    assert update(Average(), (0.25, 0.75)).tolist() == [[0.125, 0.375], [0.375, 1.125]]
    assert update(Linear(), (0.25, 0.75)).tolist() == [[0.5, 0.0], [0.0, 1.5]]


def test_halves_of_two_orthogonal_vectors_are_off_by_a_relative_error_of_seventy_percent():
    # [[.5, .5], [.5, .5]] against diag(1, 1): the difference has the norm 1, the exact combination sqrt(2).
    exact = update(Linear(), (0.5, 0.5))
    assert float((update(Average(), (0.5, 0.5)) - exact).norm() / exact.norm()) == pytest.approx(2**-0.5)


def test_the_average_of_a_vector_with_itself_is_the_vector():
    twin = vector("twin", [[1.0, 0.0]], [[1.0], [0.0]])
    torch.testing.assert_close(update(Average(), (0.3, 0.7), (FIRST, twin)), FIRST.factors["m"].update())


def test_the_rank_stays():
    assert Average().compose([FIRST, SECOND], {"first": 0.5, "second": 0.5}).rank == 1


@pytest.mark.parametrize(
    "other",
    [
        vector("second", [[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]),
        vector("second", [[0.0, 1.0]], [[0.0], [1.0]], 4.0),
    ],
    ids=["rank", "scaling"],
)
def test_factors_without_a_common_average_are_refused(other):
    with pytest.raises(ValueError, match=r"the same rank and scaling, but in m .* use composition=linear"):
        update(Average(), (0.5, 0.5), (FIRST, other))
