"""Training as a whole, wherever it is cut off."""

from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from mva.models.store import Store
from mva.training import fit as fit_module
from mva.training.plan import Sequential
from mva.training.task import Task


class Cut(Exception):
    """The power is gone."""


class CutAt(Callback):
    def __init__(self, hook, batch=None):
        self._batch = batch
        setattr(self, hook, self._cut)

    def _cut(self, *arguments, **_named):
        if self._batch is None or arguments[-1] == self._batch:
            raise Cut


def same(first, second):
    return first.factors.keys() == second.factors.keys() and all(
        torch.equal(f.a, second.factors[name].a) and torch.equal(f.b, second.factors[name].b)
        for name, f in first.factors.items()
    )


@contextmanager
def trained_with(monkeypatch, *callbacks):
    """Give every trainer more callbacks, and hand out the trainers."""
    trainers, original = [], fit_module.Trainer

    def make(**settings):
        trainers.append(original(**{**settings, "callbacks": [*settings["callbacks"], *callbacks]}))
        return trainers[-1]

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "Trainer", make)
        yield trainers


CUTS = {
    "before the first checkpoint": CutAt("on_train_batch_end", 0),
    "between two checkpoints": CutAt("on_train_batch_end", 4),
    "before a batch": CutAt("on_train_batch_start", 6),
    "after the last batch": CutAt("on_train_epoch_end"),
    "before validation": CutAt("on_validation_start"),
    "within validation": CutAt("on_validation_batch_end"),
    "at the very end": CutAt("on_fit_end"),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
@pytest.mark.parametrize(("steps", "accumulate", "every"), [(8, 1, 2), (7, 2, 1)])
def test_wherever_training_was_cut_it_ends_as_if_unbroken(fitter, monkeypatch, cut, steps, accumulate, every):
    fitter = replace(
        fitter,
        recipe=replace(fitter.recipe, steps=steps, accumulate=accumulate),
        execution=replace(fitter.execution, checkpoint_every=every),
    )
    other = replace(fitter, store=Store(fitter.store.root.parent / "other"), log=type(fitter.log)())
    first = other(Task("helpful"))
    unbroken = other(Task("harmless", earlier=(first,)))
    with trained_with(monkeypatch, cut), pytest.raises(Cut):
        fitter(Task("harmless", earlier=(first,)))
    resumed = fitter(Task("harmless", earlier=(first,)))
    assert same(resumed, unbroken)
    history = [line for line in other.log.lines if any("harmless" in name for name in line[1])]
    assert fitter.log.lines == history
    assert [step for step, _ in history] == [*range(1, steps + 1), steps]


def test_the_progress_of_a_resumed_training_adds_up(fitter, monkeypatch):
    told = []

    @contextmanager
    def bar(description, total):
        counts = []
        told.append((description, total, counts))
        yield counts.append

    fitter = replace(fitter, bar=bar)
    with trained_with(monkeypatch, CutAt("on_train_batch_end", 6)), pytest.raises(Cut):
        fitter(Task("helpful"))
    told.clear()
    fitter(Task("helpful"))
    assert [(description, sum(counts)) for description, total, counts in told] == [
        (description, total) for description, total, _ in told
    ]
    (counts,) = [counts for description, _, counts in told if description == "Training, helpful"]
    assert counts == [6, 1, 1, 1, 1]


def test_accumulated_batches_are_one_large_batch(fitter, tmp_path, monkeypatch):
    plain = replace(fitter, lora=replace(fitter.lora, dropout=0.0))
    large = replace(plain, recipe=replace(plain.recipe, steps=3, batch_size=4))
    small = replace(
        plain, recipe=replace(plain.recipe, steps=6, batch_size=2, accumulate=2), store=Store(tmp_path / "b")
    )
    vectors = []
    for task in (large, small):
        with trained_with(monkeypatch) as trainers:
            vectors.append(task(Task("helpful")))
        assert trainers[0].global_step == 3
    for name, factor in vectors[0].factors.items():
        torch.testing.assert_close(factor.update(), vectors[1].factors[name].update(), rtol=1e-3, atol=1e-6)


def test_a_later_vector_starts_from_the_base_and_not_from_the_earlier_vectors(fitter):
    Sequential().train(["helpful", "harmless"], fitter)
    starts = {name: v for step, metrics in fitter.log.lines for name, v in metrics.items() if step == 1}
    for value in ("helpful", "harmless"):
        assert starts[f"train/{value}/preference_loss"] == pytest.approx(0.693147, abs=1e-5)


def test_training_learns_to_prefer_the_chosen_responses(fitter):
    fitter = replace(fitter, recipe=replace(fitter.recipe, steps=40))
    fitter(Task("helpful"))
    accuracy = [m["train/helpful/accuracy"] for _, m in fitter.log.lines if "train/helpful/accuracy" in m]
    assert sum(accuracy[-8:]) / 8 > 0.95


def test_the_penalty_is_logged_where_it_acts_alone(fitter):
    Sequential().train(["helpful", "harmless"], fitter)
    names = {name for _, metrics in fitter.log.lines for name in metrics}
    assert "train/harmless/dependence" in names
    assert "train/helpful/dependence" not in names


@pytest.mark.parametrize("watched", [None, 3, 0])
def test_so_many_held_out_pairs_are_watched_and_the_vector_stays_the_same(fitter, tmp_path, watched):
    first = fitter(Task("helpful"))
    task = replace(
        fitter, execution=replace(fitter.execution, validation_pairs=watched), store=Store(tmp_path / "other")
    )
    fitter.log.lines.clear()
    assert same(task(Task("helpful")), first)
    told = [metrics for _, metrics in fitter.log.lines if "validation/helpful/accuracy" in metrics]
    assert len(told) == (watched != 0)


@dataclass(frozen=True)
class NotANumber:
    def __call__(self, policy_chosen, policy_rejected, *_reference):
        return policy_chosen * float("nan"), policy_chosen.detach(), policy_rejected.detach()


def test_a_training_that_fails_leaves_the_backbone_as_it_was_and_stores_nothing(fitter):
    names = [name for name, _ in fitter.backbone.model.named_parameters()]
    with pytest.raises(FloatingPointError, match=r"'helpful' became nan at step 0: lower trainer\.learning_rate"):
        replace(fitter, objective=NotANumber())(Task("helpful"))
    assert [name for name, _ in fitter.backbone.model.named_parameters()] == names
    assert not (fitter.store.root / "vectors").exists()


def test_no_checkpoints_are_kept_if_none_are_wanted(fitter, monkeypatch):
    fitter = replace(fitter, execution=replace(fitter.execution, checkpoint_every=0))
    with trained_with(monkeypatch, CutAt("on_train_batch_end", 5)), pytest.raises(Cut):
        fitter(Task("helpful"))
    assert not list(fitter.store.root.glob("unfinished/*"))
    assert fitter(Task("helpful")).norm() > 0
