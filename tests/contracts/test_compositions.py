"""What every composition owes."""

from dataclasses import replace

import pytest
import torch

from mva.composition.average import Average
from mva.composition.dare import Dare
from mva.composition.linear import Linear
from mva.composition.ties import Ties
from mva.models.value_vector import LowRank, ValueVector

# Those that keep every entry reproduce a vector from one-hot coefficients; the others drop some of it first.
WHOLE = [Linear(), Average(), Ties(density=1), Dare(drop=0), Dare(drop=0, then=Ties(density=1))]
DROPPING = [Ties(), Dare(), Dare(drop=0.3, then=Ties(density=0.5))]
OMEGA = {"helpful": 0.5, "harmless": -1.0, "honest": 2.0}


def vector(value, rank, modules=("a", "b"), seed=0):
    generator = torch.Generator().manual_seed(seed)

    def factor():
        a = torch.randn(rank, 6, generator=generator, dtype=torch.float64)
        return LowRank(a, torch.randn(4, rank, generator=generator, dtype=torch.float64), 0.5 * rank)

    return ValueVector(value, {module: factor() for module in modules}, "base", "key", {"fan_in_fan_out": True})


@pytest.fixture
def vectors():
    return [vector("helpful", 2, seed=1), vector("harmless", 2, seed=2), vector("honest", 2, ("b", "c"), seed=3)]


@pytest.fixture
def mixed_ranks():
    return [vector("helpful", 2), vector("harmless", 3), vector("honest", 1, modules=("b", "c"))]


@pytest.fixture(params=[*WHOLE, *DROPPING], ids=lambda c: c.name)
def composition(request):
    return request.param


def updates(vector):
    return {name: factor.update() for name, factor in vector.factors.items()}


def one_hot(vectors, chosen):
    return {v.value: float(v is chosen) for v in vectors}


@pytest.mark.parametrize("whole", WHOLE, ids=lambda c: c.name)
def test_one_hot_coefficients_reproduce_the_vector(whole, vectors):
    for chosen in vectors:
        expected = updates(chosen)
        for name, update in updates(whole.compose(vectors, one_hot(vectors, chosen))).items():
            torch.testing.assert_close(update, expected.get(name, torch.zeros(4, 6, dtype=torch.float64)))


def test_one_hot_coefficients_depend_on_no_other_vector(composition, vectors):
    chosen, *others = vectors
    strangers = [replace(vector(v.value, 2, tuple(v.factors), seed=9)) for v in others]
    omega = one_hot(vectors, chosen)
    first, second = (updates(composition.compose([chosen, *rest], omega)) for rest in (others, strangers))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_zero_coefficients_are_the_base(composition, vectors):
    composed = composition.compose(vectors, dict.fromkeys([v.value for v in vectors], 0.0))
    assert all(not update.any() for update in updates(composed).values())


def test_the_order_of_the_vectors_plays_no_part(composition, vectors):
    forward, backward = (updates(composition.compose(some, OMEGA)) for some in (vectors, vectors[::-1]))
    for name, update in forward.items():
        torch.testing.assert_close(update, backward[name])


def test_the_same_coefficients_give_the_same_vector_again(composition, vectors):
    first, again = (updates(composition.compose(vectors, OMEGA)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_every_module_that_any_vector_adapts_is_adapted_in_its_shape_and_type(composition, vectors):
    composed = updates(composition.compose(vectors, OMEGA))
    assert set(composed) == {"a", "b", "c"}
    assert all(update.shape == (4, 6) and update.dtype == torch.float64 for update in composed.values())


def test_a_composed_vector_belongs_to_the_same_backbone_and_remembers_what_it_is(composition, vectors):
    composed = composition.compose(vectors, OMEGA)
    assert composed.base == "base"
    assert composed.key == ""
    assert composed.metadata["coefficients"] == OMEGA
    assert composed.metadata["composition"] == composition.name
    assert composed.metadata["fan_in_fan_out"] is True


def test_names_tell_compositions_apart():
    names = [c.name for c in (*WHOLE, *DROPPING, Ties(density=0.3), Dare(seed=1), Dare(drop=0.9))]
    assert len(set(names)) == len(names)


def test_only_the_linear_one_calls_itself_linear(composition):
    assert composition.linear == isinstance(composition, Linear)


@pytest.mark.parametrize("exact", [Ties(density=1), Dare(drop=0)], ids=lambda c: c.name)
def test_what_works_on_updates_takes_vectors_of_any_rank(exact, mixed_ranks):
    for chosen in mixed_ranks:
        composed = updates(exact.compose(mixed_ranks, one_hot(mixed_ranks, chosen)))
        for name, update in updates(chosen).items():
            torch.testing.assert_close(composed[name], update)


def test_linear_is_the_weighted_sum_of_dense_updates(mixed_ranks):
    composed = updates(Linear().compose(mixed_ranks, OMEGA))
    for name, update in composed.items():
        parts = [OMEGA[v.value] * v.factors[name].update() for v in mixed_ranks if name in v.factors]
        torch.testing.assert_close(update, torch.stack(parts).sum(0))
    assert Linear().compose(mixed_ranks, OMEGA).factors["b"].a.shape[0] == 2 + 3 + 1, "ranks add up"
