"""What is trained, kept, shared and resumed."""

import json
from dataclasses import replace

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from mva.estimators.correlation import Correlation
from mva.estimators.samples import dependence
from mva.models.lora import LoraSpec
from mva.models.store import Store
from mva.objectives.decorrelation import Decorrelation
from mva.objectives.dpo import DPO
from mva.training import fit as fit_module
from mva.training.plan import Independent, Sequential
from mva.training.spec import ExecutionOptions, Recipe
from mva.training.task import Task


class Interrupted(Exception):
    pass


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, _trainer, _module, _outputs, _batch, batch_idx):
        if batch_idx + 1 == self.step:
            raise Interrupted


def test_a_resumed_training_is_bit_for_bit_the_unbroken_one(fitter, tmp_path, monkeypatch):
    unbroken = replace(fitter, store=Store(tmp_path / "other"))(Task("helpful"))
    history = list(fitter.log.lines)
    fitter.log.lines.clear()
    trainer = fit_module.Trainer
    monkeypatch.setattr(fit_module, "Trainer", lambda **k: trainer(**{**k, "callbacks": [*k["callbacks"], StopAt(7)]}))
    with pytest.raises(Interrupted):
        fitter(Task("helpful"))
    monkeypatch.setattr(fit_module, "Trainer", trainer)
    assert list(tmp_path.glob("store/unfinished/*/last.ckpt"))
    resumed = fitter(Task("helpful"))
    for name, factor in unbroken.factors.items():
        assert torch.equal(factor.a, resumed.factors[name].a)
        assert torch.equal(factor.b, resumed.factors[name].b)
    assert fitter.log.lines == history
    assert not list(tmp_path.glob("store/unfinished/*"))


def test_a_checkpoint_holds_only_what_is_trained(fitter, tmp_path, monkeypatch):
    trainer = fit_module.Trainer
    monkeypatch.setattr(fit_module, "Trainer", lambda **k: trainer(**{**k, "callbacks": [*k["callbacks"], StopAt(5)]}))
    with pytest.raises(Interrupted):
        fitter(Task("helpful"))
    checkpoint = torch.load(next(tmp_path.glob("store/unfinished/*/last.ckpt")), weights_only=True)
    assert checkpoint["state_dict"]
    assert all("lora_" in name and ".helpful." in name for name in checkpoint["state_dict"])


def test_training_changes_the_adapter_alone_and_learns(fitter):
    before = {name: p.clone() for name, p in fitter.backbone.model.named_parameters()}
    vector = replace(fitter, recipe=replace(fitter.recipe, steps=30))(Task("helpful"))
    assert all(torch.equal(p, before[name]) for name, p in fitter.backbone.model.named_parameters())
    assert not any(p.requires_grad for p in fitter.backbone.model.parameters())
    assert vector.norm() > 0
    losses = [m["train/helpful/preference_loss"] for _, m in fitter.log.lines if "train/helpful/preference_loss" in m]
    assert losses[0] == pytest.approx(0.6931, abs=1e-4), "at B = 0 the policy is the reference policy"
    assert sum(losses[-4:]) / 4 < 0.5


def test_a_stored_vector_is_not_trained_again_and_tells_its_history_again(fitter, monkeypatch):
    first = fitter(Task("helpful"))
    history = list(fitter.log.lines)
    monkeypatch.setattr(fit_module, "Trainer", None)  # any training would fail now
    again = fitter(Task("helpful"))
    assert again.key == first.key
    assert fitter.log.lines == [*history, *history]


def test_the_penalty_decides_about_later_vectors_only(fitter):
    (helpful, harmless) = Sequential().train(["helpful", "harmless"], fitter)
    weaker = replace(fitter, decorrelation=replace(fitter.decorrelation, strength=0.5))
    (same, other) = Sequential().train(["helpful", "harmless"], weaker)
    assert same.key == helpful.key
    assert other.key != harmless.key
    off = replace(fitter, decorrelation=replace(fitter.decorrelation, strength=0.0))
    assert [v.key for v in Sequential().train(["helpful", "harmless"], off)] == [
        v.key for v in Independent().train(["helpful", "harmless"], fitter)
    ]


def test_the_penalty_lowers_the_dependence_that_it_measures(fitter):
    estimator, view = fitter.decorrelation.estimator, fitter.decorrelation.view

    def left(strength):
        task = replace(
            fitter,
            decorrelation=Decorrelation(Correlation(), strength=strength),
            recipe=replace(fitter.recipe, steps=40),
        )
        # The same data for both values, so that without a penalty the vectors come out alike.
        task = replace(task, data=dict.fromkeys(task.data, task.data["helpful"]))
        first, second = Sequential().train(["helpful", "harmless"], task)
        return float(dependence(estimator, view, second.factors, [first.factors]))

    assert left(30.0) < 0.3 * left(0.0)


def test_execution_options_are_no_part_of_a_vectors_identity(fitter):
    other = replace(fitter, execution=ExecutionOptions(accelerator="cpu", devices=1, checkpoint_every=0))
    assert other.spec(Task("helpful")).describe() == fitter.spec(Task("helpful")).describe()
    json.dumps(fitter.spec(Task("helpful")).describe())


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"lora": LoraSpec(rank=2)}, {"objective": DPO(beta=0.2)}, {"recipe": Recipe(steps=3)}]
)
def test_what_the_numbers_depend_on_changes_the_identity(fitter, change):
    assert replace(fitter, **change).spec(Task("helpful")).describe() != fitter.spec(Task("helpful")).describe()
