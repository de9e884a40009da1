"""What every estimator owes, with every view that it takes. A new estimator adds one line to ESTIMATORS.

The score card measures pairs of LoRA-shaped vectors whose dependence is known: independent, half-shared, identical, and
one of the half-shared pair rewritten in ways that an estimator is or is not invariant to.
"""

from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest
import torch

from mva.estimators.activations import Activations
from mva.estimators.base import check_view, invariances_of
from mva.estimators.correlation import Correlation
from mva.estimators.cross_correlation import CrossCorrelation
from mva.estimators.distance_correlation import DistanceCorrelation
from mva.estimators.hsic import HSIC
from mva.estimators.none import NoDependence
from mva.estimators.normalized_hsic import NormalizedHSIC
from mva.estimators.orthogonal import Orthogonal
from mva.estimators.samples import FactorRows, Update, UpdateRows, dependence
from mva.estimators.subspace_overlap import SubspaceOverlap
from mva.models.value_vector import LowRank

ESTIMATORS = [
    HSIC(),
    NormalizedHSIC(),
    DistanceCorrelation(),
    Correlation(),
    CrossCorrelation(),
    Orthogonal(),
    SubspaceOverlap(),
    NoDependence(),
]
SYMMETRIC = tuple(map(type, ESTIMATORS))
BLIND = {("HSIC", "factor_rows")}
"""Pairings that hardly tell identical vectors from independent ones: the known weakness of the paper's form."""
RANK, D_IN, D_OUT = 16, 96, 80


def inputs(d, n_modules=20):
    """Isotropic inputs; real ones lie in fewer dimensions, which makes all activations alike."""
    generator = torch.Generator().manual_seed(d)
    return {f"layer{i}": torch.randn(40, d, generator=generator, dtype=torch.float64) for i in range(n_modules)}


class OnInputs:
    """Activations of the small vectors and of the LoRA-shaped ones."""

    name, invariances = Activations.name, Activations.invariances

    def __init__(self):
        self.by_width = {d: Activations().on(inputs(d)) for d in (6, D_IN)}

    def __call__(self, factors, modules=()):
        return self.by_width[factors[0].a.shape[1]](factors, modules)

    def __repr__(self):
        return "Activations"


CONFIGURED = [FactorRows("A"), FactorRows("B"), Update(), UpdateRows(), UpdateRows(sketch=32)]
VIEWS = [*CONFIGURED, OnInputs()]
PAIRS = [
    pytest.param(estimator, view, id=f"{type(estimator).__name__}-{view}")
    for estimator in ESTIMATORS
    for view in VIEWS
    if view.name in estimator.views
]


def vector(seed, modules=3, *, zero_b=False):
    generator = torch.Generator().manual_seed(seed)
    return {
        f"layer{i}": LowRank(
            torch.randn(4, 6, generator=generator, dtype=torch.float64),
            torch.randn(5, 4, generator=generator, dtype=torch.float64) * (not zero_b),
            0.5,
        )
        for i in range(modules)
    }


def look(view, vector):
    return view(list(vector.values()), list(vector))


@pytest.mark.parametrize(("estimator", "view"), PAIRS)
def test_gives_one_finite_dependence_a_module(estimator, view):
    x, y = look(view, vector(0)), look(view, vector(1))
    measured = estimator(x, y)
    assert measured.shape == (3,)
    assert torch.isfinite(measured).all()


@pytest.mark.parametrize(("estimator", "view"), PAIRS)
def test_a_batch_of_modules_equals_one_module_at_a_time(estimator, view):
    x, y = vector(0), vector(1)
    one_by_one = [estimator(look(view, {name: x[name]}), look(view, {name: y[name]})) for name in x]
    torch.testing.assert_close(estimator(look(view, x), look(view, y)), torch.cat(one_by_one))


@pytest.mark.parametrize(("estimator", "view"), PAIRS)
def test_a_lora_at_initialisation_has_finite_dependence_and_gradient(estimator, view):
    current = vector(0, zero_b=True)
    leaves = [tensor.requires_grad_() for update in current.values() for tensor in (update.a, update.b)]
    measured = dependence(estimator, view, current, [vector(1), vector(2, zero_b=True)])
    gradients = torch.autograd.grad(measured, leaves, allow_unused=True, materialize_grads=True)
    assert torch.isfinite(measured)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(("estimator", "view"), PAIRS)
def test_the_gradient_is_that_of_finite_differences(estimator, view):
    update, other = vector(0)["layer0"], look(view, vector(1, modules=1))
    a, b = update.a.requires_grad_(), update.b.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: estimator(look(view, {"layer0": LowRank(a, b, 0.5)}), other), (a, b))


@pytest.mark.parametrize(("estimator", "view"), PAIRS)
def test_the_earlier_vector_is_left_as_it_was(estimator, view):
    current, other = vector(0), vector(1)
    dependence(estimator, view, current, [other])
    assert all(torch.equal(other[name].a, update.a) for name, update in vector(1).items())
    assert all(torch.equal(current[name].b, update.b) for name, update in vector(0).items())


@pytest.mark.parametrize(("estimator", "view"), PAIRS)
def test_does_not_depend_on_who_is_first_where_it_says_so(estimator, view):
    if not isinstance(estimator, SYMMETRIC):
        pytest.skip("not symmetric by definition")
    x, y = look(view, vector(0)), look(view, vector(1))
    torch.testing.assert_close(estimator(x, y), estimator(y, x))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_takes_its_own_default_view(estimator):
    check_view(estimator, estimator.default_view)


@pytest.mark.parametrize("plug_in", [*ESTIMATORS, *CONFIGURED, Activations()], ids=repr)
def test_is_a_frozen_dataclass_of_plain_fields(plug_in):
    assert is_dataclass(plug_in)
    assert all(isinstance(getattr(plug_in, f.name), int | float | str | bool | None) for f in fields(plug_in))
    with pytest.raises((FrozenInstanceError, TypeError)):
        plug_in.anything = 1


def test_no_dependence_takes_every_view():
    assert {view.name for view in VIEWS} == NoDependence.views


def lora(seed, modules=20, *, rank=RANK):
    """A trained LoRA's shapes and scales: A as PEFT initialises it, B small."""
    generator = torch.Generator().manual_seed(seed)
    bound = D_IN**-0.5
    a = (2 * torch.rand(modules, rank, D_IN, generator=generator, dtype=torch.float64) - 1) * bound
    b = 0.01 * torch.randn(modules, D_OUT, rank, generator=generator, dtype=torch.float64)
    return {f"layer{i}": LowRank(a[i], b[i], 2.0) for i in range(modules)}


def changed(vector, change):
    return {name: LowRank(*change(update), update.scaling) for name, update in vector.items()}


def half_shared(vector, seed):
    """Half of the rank-one terms are those of `vector`, the others are new."""
    new, half = lora(seed), RANK // 2
    return {
        name: LowRank(
            torch.cat([update.a[:half], new[name].a[half:]]),
            torch.cat([update.b[:, :half], new[name].b[:, half:]], dim=1),
            update.scaling,
        )
        for name, update in vector.items()
    }


ORDER = torch.randperm(RANK, generator=torch.Generator().manual_seed(8))
MIXTURE = torch.randn(RANK, RANK, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
CHANGES = {
    "scale": lambda update: (0.1 * update.a, 0.1 * update.b),
    "refactoring": lambda update: (MIXTURE @ update.a, update.b @ torch.linalg.inv(MIXTURE)),
    "row_permutation": lambda update: (update.a[ORDER], update.b[:, ORDER]),
}


def measured(estimator, view, x, y):
    return estimator(look(view, x), look(view, y))


@pytest.mark.parametrize(("estimator", "view"), PAIRS)
def test_tells_independent_half_shared_and_identical_vectors_apart(estimator, view):
    x = lora(0)
    others = [lora(1), half_shared(x, 2), x]
    independent, half, identical = (measured(estimator, view, x, y).mean().item() for y in others)
    if isinstance(estimator, NoDependence):
        assert independent == identical == 0
    elif (type(estimator).__name__, view.name) in BLIND:
        assert identical < 1.25 * independent, "it sees dependence: take it off the list of the blind"
    else:
        assert independent < 0.4 * identical
        assert independent + 0.1 * identical < half < 0.9 * identical


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("estimator", "view"), PAIRS)
def test_has_exactly_the_invariances_that_it_declares(estimator, view, change):
    x = lora(0)
    y = half_shared(x, 2)
    before, after = measured(estimator, view, x, y), measured(estimator, view, x, changed(y, CHANGES[change]))
    same = torch.allclose(before, after, rtol=1e-6, atol=0)
    assert same == (change in invariances_of(estimator, view))


@pytest.mark.parametrize(("estimator", "view"), PAIRS)
def test_a_scale_invariant_penalty_has_nothing_to_gain_from_shrinking(estimator, view):
    if "scale" not in invariances_of(estimator, view):
        pytest.skip("not scale-invariant by definition")
    x = lora(0, modules=1)
    size = torch.ones((), dtype=torch.float64, requires_grad=True)
    shrunk = changed(x, lambda update: (size * update.a, size * update.b))
    (gradient,) = torch.autograd.grad(measured(estimator, view, shrunk, half_shared(x, 2)).sum(), size)
    assert abs(gradient.item()) < 1e-9


@pytest.mark.parametrize(("estimator", "view"), PAIRS)
def test_single_precision_suffices(estimator, view):
    x, y = lora(0), half_shared(lora(0), 2)
    single = [changed(v, lambda update: (update.a.float(), update.b.float())) for v in (x, y)]
    exact = measured(estimator, view, x, y)
    torch.testing.assert_close(measured(estimator, view, *single).double(), exact, rtol=1e-3, atol=1e-4)
