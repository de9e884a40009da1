from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch

from mva.estimators.base import IncompatibleView
from mva.estimators.correlation import Correlation
from mva.estimators.hsic import HSIC
from mva.estimators.samples import FactorRows, Update, UpdateRows, dependence, per_module
from mva.models.value_vector import LowRank


def vector(names="abc", rank=3, d_in=5, d_out=7, *, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: LowRank(
            torch.randn(rank, d_in, generator=generator, dtype=torch.float64).to(dtype),
            torch.randn(d_out, rank, generator=generator, dtype=torch.float64).to(dtype),
            2.0,
        )
        for name in names
    }


@dataclass(frozen=True)
class Counting:
    """An estimator that counts its calls and measures the product of the samples' sums."""

    calls: list[int] = field(default_factory=list)

    views: ClassVar[frozenset[str]] = frozenset({"factor_rows"})
    default_view: ClassVar[FactorRows] = FactorRows()

    def __call__(self, x, y):
        self.calls.append(len(x))
        return x.sum((-2, -1)) * y.sum((-2, -1))


def test_factor_rows_are_the_rows_of_a_or_the_columns_of_b():
    factors = list(vector(seed=0).values())
    assert torch.equal(FactorRows("A")(factors)[1], factors[1].a)
    assert torch.equal(FactorRows("B")(factors)[1, 2], factors[1].b[:, 2])


def test_update_keeps_factors_and_scalings():
    factors = list(vector(seed=0).values())
    stack = Update()(factors)
    formed = stack.scaling[:, None, None] * (stack.b @ stack.a)
    torch.testing.assert_close(formed, torch.stack([update.update() for update in factors]))


def test_views_of_half_precision_factors_are_single_precision():
    factors = list(vector(seed=0, dtype=torch.bfloat16).values())
    assert FactorRows()(factors).dtype == torch.float32
    assert Update()(factors).a.dtype == torch.float32


def test_dependence_sums_over_modules_and_earlier_vectors():
    current, earlier = vector(seed=0), [vector(seed=1), vector(seed=2)]
    expected = sum(current[m].a.sum() * other[m].a.sum() for other in earlier for m in "abc")
    torch.testing.assert_close(dependence(Counting(), FactorRows(), current, earlier), expected)


def test_per_module_sums_over_earlier_vectors_only_and_keeps_the_order_of_the_modules():
    current = {**vector("ab", seed=0), **vector("c", d_in=4, seed=3), **vector("d", seed=4)}
    earlier = [{**vector("dba", seed=1), **vector("c", d_in=4, seed=5)}, vector("ba", seed=2)]
    measured = per_module(Counting(), FactorRows(), current, earlier)
    assert list(measured) == ["a", "b", "c", "d"]
    expected = current["a"].a.sum() * (earlier[0]["a"].a.sum() + earlier[1]["a"].a.sum())
    torch.testing.assert_close(measured["a"], expected)
    torch.testing.assert_close(sum(measured.values()), dependence(Counting(), FactorRows(), current, earlier))


def test_all_pairs_of_equal_shapes_are_one_batch():
    current = {**vector("ab", seed=0), **vector("c", d_in=4, seed=1)}
    estimator = Counting()
    dependence(estimator, FactorRows(), current, [current, current, current])
    assert sorted(estimator.calls) == [3, 6]


def test_modules_that_only_one_vector_has_are_ignored():
    current, other = vector("abx", seed=0), vector("bay", seed=1)
    shared = {m: current[m] for m in "ab"}, {m: other[m] for m in "ab"}
    torch.testing.assert_close(
        dependence(Correlation(), Update(), current, [other]),
        dependence(Correlation(), Update(), shared[0], [shared[1]]),
    )


@pytest.mark.parametrize("earlier", [[], [{}], [vector("xyz", seed=1)]], ids=["none", "empty", "disjoint"])
def test_nothing_in_common_is_no_dependence(earlier):
    assert dependence(HSIC(), FactorRows(), vector(seed=0), earlier).item() == 0
    assert per_module(HSIC(), FactorRows(), vector(seed=0), earlier) == {}


def test_vectors_of_different_ranks_can_be_compared_by_their_updates():
    assert 0 < dependence(Correlation(), Update(), vector(rank=2, seed=0), [vector(rank=4, seed=1)]).item() < 3


def test_gradients_reach_the_current_factors():
    current = vector(seed=0)
    leaves = [tensor.requires_grad_() for update in current.values() for tensor in (update.a, update.b)]
    gradients = torch.autograd.grad(dependence(Correlation(), Update(), current, [vector(seed=1)]), leaves)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_a_view_that_the_estimator_cannot_take_is_refused_with_those_it_can():
    with pytest.raises(IncompatibleView, match=r"HSIC can't take the view 'update'.*factor_rows"):
        dependence(HSIC(), Update(), {}, [])


def test_refuses_a_factor_other_than_a_and_b():
    with pytest.raises(ValueError, match="choose A"):
        FactorRows("C")


def test_update_rows_are_those_of_the_formed_update():
    factors = list(vector(seed=0).values())
    torch.testing.assert_close(UpdateRows()(factors), torch.stack([update.update() for update in factors]))


def test_beyond_the_sketch_update_rows_are_fixed_mixtures_of_them():
    x, y = (list(vector("ab", d_out=40, seed=seed).values()) for seed in (0, 1))
    sketched = UpdateRows(sketch=8)(x + y)
    assert sketched.shape == (4, 8, 5)
    formed = torch.stack([update.update() for update in x + y])
    mixtures = torch.linalg.lstsq(formed.mT.flatten(0, 1), sketched.mT.flatten(0, 1)).solution
    torch.testing.assert_close(mixtures.mT @ formed, sketched)
    torch.testing.assert_close(UpdateRows(sketch=8)(y), sketched[2:])


def test_the_sketch_keeps_the_norm_of_the_update_on_average():
    factors = list(vector("abcdefgh", rank=16, d_in=30, d_out=600, seed=0).values())
    exact = torch.stack([update.update().square().sum() for update in factors]).mean()
    assert UpdateRows()(factors).square().sum((-2, -1)).mean().item() == pytest.approx(exact.item(), rel=0.1)


def test_update_rows_know_the_scaling():
    factors = list(vector(seed=0).values())
    doubled = [LowRank(update.a, update.b, 2 * update.scaling) for update in factors]
    torch.testing.assert_close(UpdateRows()(doubled), 2 * UpdateRows()(factors))


def test_refuses_a_sketch_too_small_for_unbiased_estimates():
    with pytest.raises(ValueError, match=r"^sketch is 3"):
        UpdateRows(sketch=3)
