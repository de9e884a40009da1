"""All vectors at once: what each one learns from its own pairs, and what it owes the others."""

from dataclasses import replace

import pytest
import torch

from mva.estimators.club import CLUB
from mva.estimators.correlation import Correlation
from mva.estimators.mine import MINE
from mva.estimators.samples import dependence
from mva.models.store import Store
from mva.objectives.decorrelation import Decorrelation
from mva.training.plan import Independent, Joint, Sequential

VALUES = ["helpful", "harmless"]
NOTHING = Decorrelation(Correlation(), strength=1e-30)
"""A penalty that couples the vectors in name alone."""


@pytest.fixture
def quick(fitter):
    assert fitter.lora.dropout > 0
    return replace(fitter, recipe=replace(fitter.recipe, steps=6, learning_rate=0.02))


def fresh(fitter, name, **changes):
    return replace(fitter, store=Store(fitter.store.root.parent / name), log=type(fitter.log)(), **changes)


def close(first, second, tolerance):
    return all(
        torch.allclose(f.a, second.factors[name].a, atol=tolerance)
        and torch.allclose(f.b, second.factors[name].b, atol=tolerance)
        for name, f in first.factors.items()
    )


def squared_cosine(vectors):
    first, second = vectors
    measure = Correlation()
    return dependence(measure, measure.default_view, second.factors, [first.factors]).item()


def test_without_a_penalty_every_vector_is_that_of_its_own_training(quick):
    alone = Independent().train(VALUES, quick)
    together = fresh(quick, "together", decorrelation=NOTHING)
    for vector, other in zip(Joint().train(VALUES, together), alone, strict=True):
        assert vector.value == other.value
        assert vector.norm() > 0.1
        assert close(vector, other, 2e-4)


def test_strength_zero_takes_the_vectors_of_independent_training_from_the_store(quick):
    plain = replace(quick, decorrelation=Decorrelation(Correlation(), strength=0.0))
    alone = [vector.key for vector in Independent().train(VALUES, plain)]
    assert [vector.key for vector in Joint().train(VALUES, plain)] == alone


def test_the_order_of_the_values_changes_nothing(quick):
    penalised = fresh(quick, "forth", decorrelation=Decorrelation(Correlation(), strength=30.0))
    back = fresh(penalised, "back")
    there = {vector.value: vector for vector in Joint().train(VALUES, penalised)}
    again = {vector.value: vector for vector in Joint().train(VALUES[::-1], back)}
    assert {v: vector.key for v, vector in there.items()} == {v: vector.key for v, vector in again.items()}
    assert all(close(there[value], again[value], 0.0) for value in VALUES)


def test_the_penalty_parts_both_vectors(quick):
    same = quick.data["helpful"]
    quick = replace(quick, data=dict.fromkeys(VALUES, same), recipe=replace(quick.recipe, steps=20))
    alone = Independent().train(VALUES, quick)
    penalised = Joint().train(VALUES, fresh(quick, "apart", decorrelation=Decorrelation(Correlation(), strength=100.0)))
    assert squared_cosine(penalised) < 0.5 * squared_cosine(alone)
    # Sequential training leaves the first vector as it was; here both have moved.
    assert not any(close(vector, other, 1e-4) for vector, other in zip(penalised, alone, strict=True))


def test_both_vectors_pay_the_same_dependence(quick):
    told = fresh(quick, "told", decorrelation=Decorrelation(Correlation(), strength=1.0))
    Joint().train(VALUES, told)
    paid = [
        [
            metrics[f"train/{value}/dependence"]
            for step, metrics in told.log.lines
            if f"train/{value}/dependence" in metrics
        ]
        for value in VALUES
    ]
    assert len(paid[0]) == 6
    assert max(paid[0]) > 0
    assert paid[0] == pytest.approx(paid[1], rel=1e-5)


@pytest.mark.parametrize("estimator", [CLUB(), MINE()], ids=["club", "mine"])
def test_a_learned_estimator_serves_all_pairs_with_one_critic(quick, estimator):
    learned = fresh(quick, "learned", decorrelation=Decorrelation(estimator, strength=0.01))
    vectors = Joint().train(VALUES, learned)
    assert [vector.value for vector in vectors] == VALUES
    assert all(torch.isfinite(torch.tensor(vector.norm())) for vector in vectors)


def test_cost_is_shared_and_adds_up_to_every_pair(quick):
    found = Joint().train(VALUES, fresh(quick, "cost", decorrelation=NOTHING))
    pairs = sum(vector.metadata["cost"]["pairs"] for vector in found)
    assert pairs == len(VALUES) * 6 * quick.recipe.batch_size


def test_joint_and_sequential_vectors_are_different_entries_of_the_store(quick):
    penalised = replace(quick, decorrelation=Decorrelation(Correlation(), strength=1.0))
    keys = {vector.key for plan in (Joint(), Sequential()) for vector in plan.train(VALUES, penalised)}
    assert len(keys) == 4
