"""What every learned estimator owes, as a configuration that measures and as a critic that is fitted between batches."""

from dataclasses import FrozenInstanceError, is_dataclass, replace

import pytest
import torch

from mva.estimators.activations import Activations
from mva.estimators.base import CriticBudget, LearnedEstimator, check_view, invariances_of
from mva.estimators.club import CLUB
from mva.estimators.info_nce import InfoNCE
from mva.estimators.learned import adam, fit
from mva.estimators.mine import MINE
from mva.estimators.samples import FactorRows, UpdateRows, dependence
from mva.fingerprint import describe, fingerprint
from mva.models.value_vector import LowRank

LEARNED = [CLUB(), CLUB(sampled=True), MINE(), InfoNCE()]
INPUTS = torch.randn(16, 40, 96, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
VIEWS = [
    FactorRows("A"),
    FactorRows("B"),
    UpdateRows(),
    Activations().on({f"layer{i}": x for i, x in enumerate(INPUTS)}),
]
MODULES = len(INPUTS)
ids = pytest.mark.parametrize(
    "estimator", LEARNED, ids=lambda e: type(e).__name__ + "-sampled" * getattr(e, "sampled", 0)
)
views = pytest.mark.parametrize("view", VIEWS, ids=["A", "B", "update_rows", "activations"])


def lora(seed, modules=MODULES, rank=16, *, zero_b=False):
    generator = torch.Generator().manual_seed(seed)
    a = (2 * torch.rand(modules, rank, 96, generator=generator, dtype=torch.float64) - 1) / 96**0.5
    b = 0.01 * torch.randn(modules, 80, rank, generator=generator, dtype=torch.float64)
    return {f"layer{i}": LowRank(a[i], b[i] * (not zero_b), 2.0) for i in range(modules)}


def fitted(estimator, x, y):
    critic = estimator.critic(seed=0).double()
    fit(critic, adam(critic, 5e-3), [(x, y)], steps=10)
    return critic


def look(view, vector):
    return view(list(vector.values()), list(vector))


def samples(view, seed=0, **shape):
    return look(view, lora(seed, **shape))


@ids
def test_is_a_learned_estimator_and_a_frozen_dataclass(estimator):
    assert isinstance(estimator, LearnedEstimator)
    assert is_dataclass(estimator)
    with pytest.raises((FrozenInstanceError, TypeError)):
        estimator.anything = 1
    check_view(estimator, estimator.default_view)


@ids
def test_the_budget_is_part_of_a_vectors_identity(estimator):
    other = replace(estimator, budget=CriticBudget(steps=7))
    assert fingerprint(describe(estimator)) != fingerprint(describe(other))


@ids
def test_critic_and_configuration_take_the_same_views_with_the_same_invariances(estimator):
    critic = estimator.critic(seed=0)
    assert critic.views == estimator.views
    assert critic.invariances == estimator.invariances
    assert critic.default_view == estimator.default_view


@ids
def test_the_same_seed_makes_the_same_critic_and_touches_no_global_generator(estimator):
    state = torch.get_rng_state()
    first, second, other = (estimator.critic(seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@ids
@views
def test_tells_independent_half_shared_and_identical_vectors_apart(estimator, view):
    x, new = lora(0), lora(2)
    half = {
        name: LowRank(
            torch.cat([x[name].a[:8], new[name].a[8:]]), torch.cat([x[name].b[:, :8], new[name].b[:, 8:]], 1), 2.0
        )
        for name in x
    }
    independent, shared, identical = (dependence(estimator, view, x, [y]).item() / MODULES for y in (lora(1), half, x))
    assert abs(independent) < 0.25 * identical
    assert independent < shared < 0.9 * identical


@ids
@views
def test_measuring_again_gives_the_same_number(estimator, view):
    x, y = samples(view, 0), samples(view, 1)
    assert torch.equal(estimator(x, y), estimator(x, y))


@ids
@views
def test_has_the_invariances_that_it_declares(estimator, view):
    critic = fitted(estimator, samples(view, 0), samples(view, 1))
    m = torch.randn(16, 16, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    changes = {
        "scale": lambda u: LowRank(0.1 * u.a, 0.1 * u.b, u.scaling),
        "refactoring": lambda u: LowRank(m @ u.a, u.b @ torch.linalg.inv(m), u.scaling),
    }
    x = samples(view, 0)
    before = critic(x, samples(view, 1))
    for name, change in changes.items():
        after = critic(x, look(view, {module: change(u) for module, u in lora(1).items()}))
        assert torch.allclose(before, after, rtol=1e-6, atol=1e-9) == (name in invariances_of(estimator, view)), name


@ids
@views
def test_the_gradient_of_a_critic_is_that_of_finite_differences(estimator, view):
    other = samples(view, 1, modules=1, rank=4)[..., :3, :5]
    x = samples(view, 0, modules=1, rank=4)[..., :3, :5].clone()
    critic = fitted(replace(estimator, dimension=4, hidden=6), x, other)
    assert torch.autograd.gradcheck(lambda x: critic(x, other), x.requires_grad_())


@ids
@views
def test_a_batch_of_modules_equals_one_module_at_a_time(estimator, view):
    x, y = samples(view, 0, modules=3), samples(view, 1, modules=3)
    critic = fitted(estimator, x, y)
    torch.testing.assert_close(critic(x, y), torch.cat([critic(x[i : i + 1], y[i : i + 1]) for i in range(3)]))


@ids
@views
def test_a_lora_at_initialisation_has_finite_dependence_and_gradient(estimator, view):
    current = lora(0, 3, zero_b=True)
    leaves = [tensor.requires_grad_() for update in current.values() for tensor in (update.a, update.b)]
    measured = dependence(estimator, view, current, [lora(1, 3), lora(2, 3, zero_b=True)])
    gradients = torch.autograd.grad(measured, leaves, allow_unused=True, materialize_grads=True)
    assert torch.isfinite(measured)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@ids
def test_measures_without_gradients_too(estimator):
    x, y = samples(FactorRows(), 0), samples(FactorRows(), 1)
    with torch.no_grad():
        assert torch.isfinite(estimator(x, y)).all()


@ids
def test_refuses_too_few_samples_to_measure_with(estimator):
    with pytest.raises(ValueError, match="at least 4 samples, but the view shows 3"):
        estimator(torch.zeros(1, 3, 5), torch.zeros(1, 3, 5))
