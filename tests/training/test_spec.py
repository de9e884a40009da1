"""Recipes by hand; what is, and what is not, part of a vector's identity."""

import json
import math
from dataclasses import replace

import pytest

from mva.estimators.correlation import Correlation
from mva.estimators.hsic import HSIC
from mva.models.lora import LoraSpec
from mva.models.store import key_of
from mva.objectives.decorrelation import Decorrelation
from mva.objectives.dpo import DPO
from mva.training.spec import ExecutionOptions, Recipe, VectorSpec

SPEC = VectorSpec(
    value="helpful",
    base="b",
    data="d",
    seed=0,
    lora=LoraSpec(),
    objective=DPO(),
    decorrelation=Decorrelation(Correlation(), strength=2.0),
    recipe=Recipe(),
    earlier=("k1",),
)


def key(spec):
    return key_of(spec.describe())


@pytest.mark.parametrize(
    "change",
    [
        {"value": "harmless"},
        {"base": "another"},
        {"data": "another"},
        {"seed": 1},
        {"lora": LoraSpec(rank=8)},
        {"lora": LoraSpec(dropout=0.1)},
        {"objective": DPO(beta=0.2)},
        {"objective": DPO(label_smoothing=0.1)},
        {"recipe": Recipe(learning_rate=2e-5)},
        {"recipe": Recipe(max_grad_norm=0.5)},
        {"decorrelation": Decorrelation(Correlation(), strength=3.0)},
        {"decorrelation": Decorrelation(HSIC(), strength=2.0)},
        {"earlier": ("k2",)},
        {"earlier": ("k1", "k2")},
        {"earlier": ()},
    ],
    ids=str,
)
def test_whatever_the_numbers_depend_on_changes_the_key(change):
    assert key(replace(SPEC, **change)) != key(SPEC)


@pytest.mark.parametrize("change", [{"earlier": ()}, {"decorrelation": Decorrelation(HSIC(), strength=0.0)}], ids=str)
def test_a_penalty_that_cannot_act_is_no_part_of_the_key(change):
    alone = replace(SPEC, earlier=(), decorrelation=Decorrelation(Correlation(), strength=0.0))
    assert key(replace(SPEC, **change)) == key(alone)


def test_dropout_is_named_by_how_it_is_drawn_and_its_absence_changes_no_key():
    with_dropout = replace(SPEC, lora=LoraSpec(dropout=0.1)).describe()
    assert with_dropout.pop("dropout") == "keyed"
    assert with_dropout["lora"].pop("dropout") == 0.1
    without = SPEC.describe()
    assert without["lora"].pop("dropout") == 0.0
    assert with_dropout == without


def test_the_description_is_plain_data():
    assert json.loads(json.dumps(SPEC.describe())) == SPEC.describe()


def test_the_seed_is_the_values_own_and_not_the_recipes():
    assert replace(SPEC, recipe=Recipe(steps=1)).vector_seed == SPEC.vector_seed
    assert replace(SPEC, value="harmless").vector_seed != SPEC.vector_seed
    assert replace(SPEC, seed=1).vector_seed != SPEC.vector_seed


@pytest.mark.parametrize(
    ("recipe", "n_pairs", "batches"),
    [
        (Recipe(steps=7), 100, 7),
        (Recipe(epochs=3, batch_size=2), 10, 15),
        (Recipe(epochs=1, batch_size=4), 9, 3),
        (Recipe(epochs=0.1, batch_size=4), 8, 1),
    ],
)
def test_batches_are_given_or_follow_from_epochs(recipe, n_pairs, batches):
    assert recipe.batches(n_pairs) == batches


def test_the_learning_rate_warms_up_linearly_and_falls_to_zero():
    # Of 10 steps 2 warm up, to 1/3 and 2/3; the peak is step 2, its half is in the middle of the other eight.
    cosine, linear = Recipe(schedule="cosine", warmup=0.2), Recipe(schedule="linear", warmup=0.2)
    for recipe in (cosine, linear):
        factors = [recipe.learning_rate_factor(step, 10) for step in (0, 1, 2, 6, 10)]
        assert factors == pytest.approx([1 / 3, 2 / 3, 1, 1 / 2, 0])
    assert cosine.learning_rate_factor(4, 10) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert linear.learning_rate_factor(4, 10) == pytest.approx(3 / 4)


def test_without_warm_up_a_constant_learning_rate_is_constant():
    recipe = Recipe(schedule="constant", warmup=0.0)
    assert [recipe.learning_rate_factor(step, 3) for step in range(4)] == [1.0] * 4


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7])
def test_every_step_moves_and_none_exceeds_the_peak(schedule, warmup, total):
    recipe = Recipe(schedule=schedule, warmup=warmup)
    assert all(0 < recipe.learning_rate_factor(step, total) <= 1 for step in range(total))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"steps": 0}, "^steps is 0"),
        ({"batch_size": 0}, "^batch_size is 0"),
        ({"accumulate": -1}, "^accumulate is -1"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": math.inf}, "epochs"),
        ({"warmup": 1.1}, "warmup"),
        ({"schedule": "step"}, "choose constant, linear or cosine"),
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_trained_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        Recipe(**wrong)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_a_precision_that_rounds_the_base_is_refused(precision):
    with pytest.raises(ValueError, match=r"^precision is .*: choose 32-true, bf16-mixed or 16-mixed"):
        ExecutionOptions(precision=precision)


@pytest.mark.parametrize("devices", [1, "1", [0], [3], "[2]", ("0",)])
def test_one_device_is_taken_in_any_spelling(devices):
    ExecutionOptions(devices=devices)


@pytest.mark.parametrize("devices", [2, 0, -1, "2", "-1", "auto", [0, 1], [], "[0,1]", True, None, "0,1"])
def test_several_devices_are_refused_until_they_work(devices):
    with pytest.raises(ValueError, match=r"^devices.* is .*: choose"):
        ExecutionOptions(devices=devices)
