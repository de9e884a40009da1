import pytest
import torch

from mva.estimators.base import IncompatibleView
from mva.estimators.correlation import Correlation
from mva.estimators.hsic import HSIC
from mva.estimators.samples import FactorRows, Update, dependence
from mva.models.value_vector import LowRank
from mva.objectives.decorrelation import Decorrelation


class Untouchable:
    """An estimator that must not be called."""

    views = frozenset({"update"})
    default_view = Update()
    invariances = frozenset()

    def __call__(self, x, y):
        raise AssertionError("the penalty was computed")


def vector(seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: LowRank(
            torch.randn(3, 5, generator=generator, dtype=torch.float64),
            torch.randn(4, 3, generator=generator, dtype=torch.float64),
            2.0,
        )
        for name in ("q", "v")
    }


def test_the_penalty_is_strength_times_dependence():
    decorrelation = Decorrelation(Correlation(), Update(), strength=7.0)
    penalty, measured = decorrelation(vector(0), [vector(1), vector(2)])
    expected = dependence(Correlation(), Update(), vector(0), [vector(1), vector(2)])
    torch.testing.assert_close(measured, expected)
    torch.testing.assert_close(penalty, 7 * expected)
    torch.testing.assert_close(decorrelation.penalty(vector(0), [vector(1), vector(2)]), 7 * expected)


def test_a_vector_against_itself_costs_the_strength_a_module():
    assert Decorrelation(Correlation(), strength=3.0).penalty(vector(0), [vector(0)]).item() == pytest.approx(6)


def test_gradient_steps_take_the_dependence_away():
    earlier, noise = vector(0), vector(1)
    current = {m: LowRank(u.a + 0.3 * noise[m].a, u.b + 0.3 * noise[m].b, u.scaling) for m, u in earlier.items()}
    leaves = [tensor.requires_grad_() for update in current.values() for tensor in (update.a, update.b)]
    optimizer = torch.optim.SGD(leaves, lr=0.1)
    before = Decorrelation(Correlation()).penalty(current, [earlier]).item()
    for _ in range(100):
        optimizer.zero_grad()
        penalty = Decorrelation(Correlation()).penalty(current, [earlier])
        penalty.backward()
        optimizer.step()
    assert before > 10
    assert penalty.item() < 0.01


def test_the_dependence_carries_no_gradient_but_the_penalty_does():
    current = vector(0)
    current["q"].a.requires_grad_()
    penalty, measured = Decorrelation(HSIC())(current, [vector(1)])
    assert penalty.requires_grad
    assert not measured.requires_grad


@pytest.mark.parametrize(("strength", "earlier"), [(0.0, [vector(1)]), (10.0, [])], ids=["strength 0", "first vector"])
def test_nothing_to_penalise_is_an_exact_zero_and_costs_nothing(strength, earlier):
    decorrelation = Decorrelation(Untouchable(), strength=strength)
    penalty, measured = decorrelation(vector(0), earlier)
    assert not decorrelation.acts_on(earlier)
    assert (penalty.item(), measured.item()) == (0, 0)


def test_leaving_the_view_to_the_estimator_is_the_same_specification_as_naming_it():
    assert Decorrelation(HSIC()) == Decorrelation(HSIC(), FactorRows("A"))
    assert Decorrelation(HSIC()) != Decorrelation(HSIC(), FactorRows("B"))


def test_a_view_that_the_estimator_cannot_take_is_refused_when_built():
    with pytest.raises(IncompatibleView, match=r"set penalty\.view to one of .*factor_rows"):
        Decorrelation(HSIC(), Update())


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_refuses_a_strength_that_is_no_weight(strength):
    with pytest.raises(ValueError, match=r"^strength is"):
        Decorrelation(HSIC(), strength=strength)


class Signed:
    """An estimate below, at and above independence, by the module's name."""

    views = frozenset({"update"})
    default_view = Update()
    invariances = frozenset()

    def __call__(self, x, y):
        return x.scaling * (x.b.sum((-2, -1)) * 0 + 1)


def test_an_estimate_below_independence_is_reported_but_not_rewarded():
    ones = torch.ones(2, 2, dtype=torch.float64)
    vectors = {name: LowRank(ones, ones.clone().requires_grad_(), d) for name, d in (("q", -0.4), ("v", 0.1))}
    penalty, measured = Decorrelation(Signed(), strength=10.0)(vectors, [vectors])
    assert penalty.item() == pytest.approx(1.0)
    assert measured.item() == pytest.approx(-0.3)


def test_a_penalty_that_found_nothing_has_no_gradient():
    x = torch.tensor([[2.0]], dtype=torch.float64, requires_grad=True)

    class Below(Signed):
        def __call__(self, x, y):
            return -x.a.sum((-2, -1))

    one = LowRank(x, torch.ones(1, 1, dtype=torch.float64), 1.0)
    penalty, measured = Decorrelation(Below(), strength=3.0)({"q": one}, [{"q": one}])
    assert (penalty.item(), measured.item()) == (0, -2)
    assert torch.autograd.grad(penalty, x)[0].item() == 0
