"""Whose pairs come when, and against which reference policy."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mva.models.reference import reference_log_probs
from mva.models.store import key_of
from mva.training.task import Task
from mva.training.task_data import TaskData

MIXED = Task("mixed", preferences={"helpful": 0.75, "harmless": 0.25})


@pytest.fixture
def data(fitter):
    return TaskData(
        fitter.backbone, fitter.data, replace(fitter.recipe, steps=4, batch_size=4), 0.5,
        store=fitter.store, seed=0, bar=fitter.bar, tokens=500,
    )  # fmt: skip


def pairs_of(module):
    return [module.train.pairs[row] for rows in module.train.rows for row in rows]


def test_every_batch_holds_the_values_in_their_proportions(data):
    module = data.module(MIXED, watched=0)
    helpful = data.values["helpful"].train
    assert [sum(module.train.pairs[row] in helpful for row in rows) for rows in module.train.rows] == [3, 3, 3, 3]


def test_a_mixture_sees_the_beginning_of_what_each_value_alone_sees(data):
    mixed = pairs_of(data.module(MIXED, watched=0))
    for value, n in (("helpful", 12), ("harmless", 4)):
        alone = pairs_of(data.module(Task(value), watched=0))
        assert [pair for pair in mixed if pair in data.values[value].train] == alone[:n]


def test_a_mixture_takes_the_reference_log_probs_of_the_values_from_the_store(data):
    for value in ("helpful", "harmless"):
        data.module(Task(value), watched=0)
    entries = len(list((data.store.root / "reference").iterdir()))
    data.module(MIXED, watched=0)
    assert len(list((data.store.root / "reference").iterdir())) == entries


def test_the_reference_of_every_pair_is_its_own(data):
    module = data.module(MIXED, watched=2)
    for batches in (module.train, module.validation):
        for rows in batches.rows:
            some = [batches.pairs[row] for row in rows]
            expected = reference_log_probs(data.backbone, some, data.store)
            torch.testing.assert_close(batches.reference[list(rows)], expected, rtol=0, atol=1e-4)


def test_a_stage_refers_to_the_policy_that_it_starts_from(fitter, data):
    fitter = replace(fitter, lora=replace(fitter.lora, dropout=0.0))
    first = fitter(Task("helpful"))
    task = Task("chained", preferences={"harmless": 1.0}, start=first)
    module, base = data.module(task, watched=0), data.module(Task("harmless"), watched=0)
    assert pairs_of(module) == pairs_of(base)
    assert not torch.allclose(module.train.reference, base.train.reference, equal_nan=True)
    fitter(task)
    losses = [m["train/chained/preference_loss"] for _, m in fitter.log.lines if "train/chained/preference_loss" in m]
    assert losses[0] == pytest.approx(0.693147, abs=1e-4), "the policy starts as its own reference"


def test_a_stage_goes_on_with_the_factors_of_the_one_before(fitter):
    first = fitter(Task("helpful"))
    still = replace(fitter, recipe=replace(fitter.recipe, steps=1, learning_rate=1e-12))
    second = still(Task("chained", preferences={"harmless": 1.0}, start=first))
    for name, factor in first.factors.items():
        torch.testing.assert_close(second.factors[name].update(), factor.update())


def test_margins_tilt_the_reference_by_the_other_vector(fitter, data):
    other = fitter(Task("harmless"))
    plain = data.module(Task("helpful"), watched=0).train
    task = Task("m", preferences={"helpful": 1.0}, margins=((other, 0.25),))
    found = data.module(task, watched=0).train
    used = sorted({row for rows in plain.rows for row in rows})
    spoken = reference_log_probs(data.backbone, [plain.pairs[row] for row in used], data.store, vector=other)
    expected = 0.75 * plain.reference[used] + 0.25 * spoken
    torch.testing.assert_close(found.reference[used], expected)
    assert not torch.allclose(spoken, plain.reference[used])


def test_a_reward_is_the_margin_that_its_tilted_policy_would_have(data):
    class Rewards:
        key = "reward-key"

        def __call__(self, pairs):
            return torch.tensor([[float(len(pair.chosen)), -float(pair.prompt[0])] for pair in pairs])

    plain = data.module(Task("helpful"), watched=0).train
    found = data.module(Task("m", preferences={"helpful": 1.0}, margins=((Rewards(), 0.25),)), watched=0).train
    used = sorted({row for rows in plain.rows for row in rows})
    # log pi_tilted = log pi_reference + w r / beta, with w = 0.25 and beta = 0.5.
    expected = plain.reference[used] + 0.5 * Rewards()([plain.pairs[row] for row in used])
    torch.testing.assert_close(found.reference[used], expected)


def test_the_margins_key_is_part_of_the_vectors_identity(fitter):
    def key(name):
        margin = SimpleNamespace(key=name)
        return key_of(fitter.spec(Task("m", preferences={"helpful": 1.0}, margins=((margin, 0.25),))).describe())

    assert key("one") == key("one") != key("other")


def test_modpo_without_a_margin_would_be_another_vector(fitter):
    other = fitter(Task("harmless"))
    task = Task("m", preferences={"helpful": 1.0}, margins=((other, 0.25),))
    keys = {fitter.spec(one).describe()["objective"]["class"] for one in (task, Task("helpful"))}
    assert len(keys) == 2
    assert fitter(task).key != fitter(Task("helpful")).key


def test_what_a_vector_cost_is_part_of_it(fitter):
    cost = fitter(Task("helpful")).metadata["cost"]
    assert cost["pairs"] == 30
    assert cost["seconds"] > 0
