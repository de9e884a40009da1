"""Critics fitted between the batches, and every estimator through a whole training."""

from dataclasses import replace

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from mva.estimators.base import CriticBudget
from mva.estimators.club import CLUB
from mva.estimators.correlation import Correlation
from mva.estimators.cross_correlation import CrossCorrelation
from mva.estimators.distance_correlation import DistanceCorrelation
from mva.estimators.hsic import HSIC
from mva.estimators.info_nce import InfoNCE
from mva.estimators.mine import MINE
from mva.estimators.none import NoDependence
from mva.estimators.normalized_hsic import NormalizedHSIC
from mva.estimators.orthogonal import Orthogonal
from mva.estimators.samples import UpdateRows
from mva.models.lora import attach, detach, live_factors
from mva.models.store import Store
from mva.objectives.decorrelation import Decorrelation
from mva.training import fit as fit_module
from mva.training.critic import CriticTraining
from mva.training.module import ValueVectorModule
from mva.training.plan import Sequential
from mva.training.task import Task

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

SMALL = {"dimension": 4, "hidden": 8, "budget": CriticBudget(warmup=5, steps=2)}
LEARNED = [CLUB(**SMALL), CLUB(**SMALL, sampled=True), MINE(**SMALL), InfoNCE(**SMALL)]
CLOSED = [
    HSIC(),
    NormalizedHSIC(),
    DistanceCorrelation(),
    Correlation(),
    CrossCorrelation(),
    Orthogonal(),
    NoDependence(),
]


class Interrupted(Exception):
    pass


class Watch(Callback):
    """Keep the critic's callback, and stop where told."""

    def __init__(self, stop_after=None):
        self.stop_after, self.critics = stop_after, []

    def on_train_batch_end(self, trainer, module, _outputs, _batch, batch_idx):
        self.critics = [callback for callback in trainer.callbacks if isinstance(callback, CriticTraining)]
        self.module = module
        if batch_idx + 1 == self.stop_after:
            raise Interrupted


def with_callback(monkeypatch, callback):
    trainer = fit_module.Trainer
    monkeypatch.setattr(fit_module, "Trainer", lambda **k: trainer(**{**k, "callbacks": [*k["callbacks"], callback]}))


def penalised(fitter, estimator, *, strength=0.1, steps=4, view=None, **changes):
    return replace(
        fitter,
        decorrelation=Decorrelation(estimator, view, strength=strength),
        recipe=replace(fitter.recipe, steps=steps),
        **changes,
    )


def weights(critic):
    return {name: tensor.clone() for name, tensor in critic.state_dict().items()}


@pytest.fixture
def module(fitter):
    """A module that penalises by CLUB, with one earlier vector."""
    first = fitter(Task("helpful"))
    task = penalised(fitter, LEARNED[0], strength=1.0)
    model = attach(task.backbone, task.lora, name="harmless", seed=1)
    for factor in live_factors(model, "harmless").values():
        torch.nn.init.normal_(factor.b, generator=torch.Generator().manual_seed(2))
    yield ValueVectorModule(
        model, task.spec(Task("harmless", earlier=(first,))), earlier=[first], n_batches=4, split_head=True
    )
    detach(model)


@pytest.mark.parametrize("strength", [0.0, 1.0])
@pytest.mark.parametrize("estimator", [*CLOSED, *LEARNED], ids=lambda e: type(e).__name__)
def test_every_estimator_trains_two_and_three_values_at_any_strength(fitter, estimator, strength):
    data = {**fitter.data, "honest": fitter.data["helpful"]}
    task = penalised(fitter, estimator, strength=strength, steps=2, data=data)
    vectors = Sequential().train(["helpful", "harmless", "honest"], task)
    assert all(vector.norm() > 0 for vector in vectors)
    told = [m["train/honest/dependence"] for _, m in fitter.log.lines if "train/honest/dependence" in m]
    assert len(told) == (2 if strength else 0)


@pytest.mark.parametrize("estimator", LEARNED, ids=lambda e: type(e).__name__)
def test_a_resumed_training_with_a_critic_is_bit_for_bit_the_unbroken_one(fitter, tmp_path, monkeypatch, estimator):
    task = penalised(fitter, estimator, strength=1.0, steps=8)
    first = task(Task("helpful"))
    other = replace(task, store=Store(tmp_path / "other"), log=type(fitter.log)())
    unbroken = other(Task("harmless", earlier=(first,)))
    with monkeypatch.context() as patch:
        with_callback(patch, Watch(stop_after=5))
        with pytest.raises(Interrupted):
            task(Task("harmless", earlier=(first,)))
    resumed = task(Task("harmless", earlier=(first,)))
    assert all(torch.equal(f.a, resumed.factors[name].a) for name, f in unbroken.factors.items())
    assert all(torch.equal(f.b, resumed.factors[name].b) for name, f in unbroken.factors.items())
    assert [line for line in fitter.log.lines if "train/harmless/loss" in line[1]] == [
        line for line in other.log.lines if "train/harmless/loss" in line[1]
    ]


def test_the_policy_loss_gives_the_critic_no_gradient_and_the_critic_gives_the_policy_none(module):
    (training,) = module.configure_callbacks()
    before = weights(module.decorrelation.estimator)
    policy = {name: p.detach().clone() for name, p in module.named_parameters()}
    training.on_train_batch_start()
    critic = module.decorrelation.estimator
    assert any(not torch.equal(old, critic.state_dict()[name]) for name, old in before.items())
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(p, policy[name]) for name, p in module.named_parameters())
    fitted = weights(critic)
    penalty, _ = module.decorrelation(live_factors(module.model, "harmless"), module.earlier)
    penalty.backward()
    assert all(p.grad is None for p in critic.parameters())
    assert all(torch.equal(tensor, fitted[name]) for name, tensor in critic.state_dict().items())
    assert any(f.a.grad.abs().sum() > 0 for f in live_factors(module.model, "harmless").values())


def test_the_critic_is_no_part_of_the_module_nor_of_its_optimizer(module):
    critic = {id(p) for p in module.decorrelation.estimator.parameters()}
    assert not critic & {id(p) for p in module.parameters()}
    optimizer = module.configure_optimizers()["optimizer"]
    assert not critic & {id(p) for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize(("batches", "steps"), [(1, 5), (3, 9)])
def test_the_first_batch_gets_the_warm_up_and_the_others_the_steps(module, batches, steps):
    (training,) = module.configure_callbacks()
    for _ in range(batches):
        training.on_train_batch_start()
    (state, *_) = training.state_dict()["optimizer"]["state"].values()
    assert state["step"].item() == steps


def test_the_checkpoint_holds_the_critic_and_its_optimizer_as_plain_tensors(fitter, monkeypatch):
    task = penalised(fitter, LEARNED[0], strength=1.0, steps=6)
    first = task(Task("helpful"))
    watch = Watch(stop_after=5)
    with_callback(monkeypatch, watch)
    with pytest.raises(Interrupted):
        task(Task("harmless", earlier=(first,)))
    (path,) = fitter.store.root.glob("unfinished/*/last.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    (kept,) = [state for name, state in checkpoint["callbacks"].items() if "CriticTraining" in name]
    (critic,) = watch.critics
    assert kept["warm"]
    assert kept["critic"].keys() == critic.state_dict()["critic"].keys()
    assert not any("mean" in name for name in checkpoint["state_dict"])


def test_there_is_no_critic_where_there_is_nothing_to_penalise(fitter, monkeypatch):
    watch = Watch()
    with_callback(monkeypatch, watch)
    penalised(fitter, LEARNED[0])(Task("helpful"))
    assert watch.critics == []


def test_a_critic_that_diverges_stops_the_training_with_a_sentence(fitter):
    wild = replace(LEARNED[0], budget=CriticBudget(warmup=50, learning_rate=1e30))
    task = penalised(fitter, wild, strength=1.0)
    first = task(Task("helpful"))
    with pytest.raises(
        FloatingPointError, match=r"GaussianConditional has diverged.*lower estimator\.budget\.learning_rate"
    ):
        task(Task("harmless", earlier=(first,)))


def test_the_penalty_of_a_critic_keeps_vectors_apart_that_the_same_data_draws_together(fitter):
    """With the same data and the same start, both vectors are alike but for the penalty."""
    estimator = CLUB(dimension=8, hidden=16, budget=CriticBudget(warmup=50, steps=5, learning_rate=5e-3))
    view = UpdateRows()

    def left(strength):
        task = penalised(fitter, estimator, strength=strength, steps=30, view=view)
        task = replace(task, data=dict.fromkeys(task.data, task.data["helpful"]))
        first, second = Sequential().train(["helpful", "harmless"], task)
        return Decorrelation(Correlation()).penalty(second.factors, [first.factors]).item()

    assert left(1.0) < 0.7 * left(0.0)
