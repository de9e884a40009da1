"""A step is the same step, however it is cut into micro-batches."""

from dataclasses import replace

import pytest
import torch

from mva.data.tokenization import TokenizedPair
from mva.data.tokenized import TokenizedValue
from mva.estimators.club import CLUB
from mva.estimators.correlation import Correlation
from mva.models.backbone import load_backbone
from mva.models.log_probs import Capabilities
from mva.models.lora import attach, detach, live_factors
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.objectives.decorrelation import Decorrelation
from mva.objectives.dpo import DPO
from mva.objectives.ipo import IPO
from mva.objectives.kto_pair import KTOPair
from mva.objectives.modpo import MODPO
from mva.objectives.orpo import ORPO
from mva.objectives.robust_dpo import RobustDPO
from mva.objectives.simpo import SimPO
from mva.training import ranks, steps
from mva.training.module import ValueVectorModule
from mva.training.plan import Joint, MarginWeighting, Sequential
from mva.training.task import Task
from mva.training.task_data import TaskData

LOSSES = [DPO(), DPO(label_smoothing=0.1), RobustDPO(), IPO(), KTOPair(), MODPO(KTOPair(), 0.5), SimPO(), ORPO()]
TOKENS = [1, 60, 100_000]
PADDED = Capabilities(packed=False, split_head=True)


def unlike_pairs(seed, n=12):
    generator = torch.Generator().manual_seed(seed)

    def tokens():
        size = int(torch.randint(1, 15, (), generator=generator))
        return tuple(torch.randint(3, 200, (size,), generator=generator).tolist())

    return [TokenizedPair(tokens(), tokens(), tokens()) for _ in range(n)]


@pytest.fixture
def quick(fitter):
    assert fitter.lora.dropout > 0
    return replace(
        fitter,
        data={value: TokenizedValue(unlike_pairs(i), unlike_pairs(i + 10, 4)) for i, value in enumerate(fitter.data)},
        recipe=replace(fitter.recipe, steps=4, batch_size=5, learning_rate=1e-3),
    )


def with_tokens(fitter, tokens):
    store = Store(fitter.store.root.parent / f"tokens {tokens}")
    return replace(fitter, execution=replace(fitter.execution, tokens=tokens), store=store, log=type(fitter.log)())


def gradient_of(fitter, objective, tokens, *, capabilities=None):
    """The loss of a step, its metrics, and the gradient that its micro-batches add up to."""
    backbone = fitter.backbone if capabilities is None else replace(fitter.backbone, capabilities=capabilities)
    data = ranks.share_of(
        TaskData(
            backbone, fitter.data, fitter.recipe, 0.5,
            store=with_tokens(fitter, 7).store, seed=0, bar=fitter.bar, tokens=tokens,
        ).module(Task("helpful"), watched=0)
    )  # fmt: skip
    model = attach(backbone, fitter.lora, name="helpful", seed=0)
    for i, factor in enumerate(live_factors(model, "helpful").values()):
        torch.nn.init.normal_(factor.b, std=0.3, generator=torch.Generator().manual_seed(i))
    spec = replace(fitter.spec(Task("helpful")), objective=objective)
    module = ValueVectorModule(model, spec, earlier=[], n_batches=4, split_head=True)
    total = 0.0
    for part in module.losses(data.train[0], 0):
        part.backward()
        total += part.item()
    factors = live_factors(model, "helpful").values()
    gradient = torch.cat([side.grad.flatten() for factor in factors for side in (factor.a, factor.b)])
    detach(model)
    return total, module.history[0][1], gradient, len(data.train[0])


@pytest.mark.parametrize("objective", LOSSES, ids=repr)
def test_loss_metrics_and_gradient_are_those_of_the_whole_step(quick, objective):
    *whole, n_micro_batches = gradient_of(quick, objective, 100_000)
    assert n_micro_batches == 1
    for tokens, capabilities in ((1, None), (60, None), (100_000, PADDED)):
        loss, metrics, gradient, n_micro_batches = gradient_of(quick, objective, tokens, capabilities=capabilities)
        assert n_micro_batches > 1
        assert loss == pytest.approx(whole[0], rel=1e-5)
        assert metrics == pytest.approx(whole[1], rel=1e-4, abs=1e-6)
        assert (gradient - whole[2]).norm() < 1e-5 * whole[2].norm()


def test_shares_of_a_step_that_are_cut_unlike_give_the_gradient_of_the_whole_step(quick, monkeypatch):
    quick = replace(quick, recipe=replace(quick.recipe, batch_size=6))
    *_, whole, _ = gradient_of(quick, DPO(), 100_000)
    gradients, numbers = [], set()
    for rank in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(ranks, "size", lambda: 2)
            patch.setattr(ranks.dist, "get_rank", lambda rank=rank: rank)
            patch.setattr(steps, "average", lambda _metrics: None)
            *_, gradient, n_micro_batches = gradient_of(quick, DPO(), 45)
        gradients.append(gradient)
        numbers.add(n_micro_batches)
    assert len(numbers) == 2
    assert (sum(gradients) / 2 - whole).norm() < 1e-5 * whole.norm()


def close(first, second):
    return all(
        torch.allclose(f.update(), second.factors[name].update(), rtol=0, atol=2e-5)
        for name, f in first.factors.items()
    )


PLANS = {
    "sequential": (Sequential(), Decorrelation(Correlation(), strength=3.0)),
    "learned": (Sequential(), Decorrelation(CLUB(dimension=4, hidden=8), strength=0.1)),
    "joint": (Joint(), Decorrelation(Correlation(), strength=3.0)),
    "margins": (MarginWeighting(divisions=2), Decorrelation(Correlation(), strength=0.0)),
}


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("name", PLANS)
def test_every_plan_trains_the_same_vectors(quick, name, accumulate):
    plan, decorrelation = PLANS[name]
    quick = replace(quick, decorrelation=decorrelation, recipe=replace(quick.recipe, accumulate=accumulate))
    vectors = {tokens: plan.train(["helpful", "harmless"], with_tokens(quick, tokens)) for tokens in TOKENS}
    for tokens in TOKENS[:2]:
        for vector, whole in zip(vectors[tokens], vectors[TOKENS[-1]], strict=True):
            assert vector.norm() > 0.01
            assert close(vector, whole)


def test_how_a_step_is_cut_is_no_part_of_a_vector_s_identity(quick):
    keys = {with_tokens(quick, tokens)(Task("helpful")).key for tokens in TOKENS}
    assert len(keys) == 1


def test_packed_rows_hold_no_padding_and_no_more_than_their_tokens(quick):
    data = TaskData(
        quick.backbone, quick.data, quick.recipe, 0.5, store=quick.store, seed=0, bar=quick.bar, tokens=60
    ).module(Task("helpful"), watched=0)
    for step in range(4):
        batches = data.train[step]
        tokens = sum(
            len(p.prompt + p.chosen + p.rejected) for p in (data.train.pairs[r] for r in data.train.rows[step])
        )
        assert sum(batch.input_ids.numel() for batch in batches) == tokens
        assert all(batch.input_ids.numel() <= 60 or len(batch) == 1 for batch in batches)


def test_an_architecture_that_is_not_told_how_to_read_packed_rows_trains_on_padded_ones(quick):
    vectors = []
    for packed in (True, False):
        backbone = load_backbone(TinyRandom("llama"), device="cpu")
        able = replace(backbone.capabilities, packed=packed)
        fitter = with_tokens(replace(quick, backbone=replace(backbone, capabilities=able)), 50 + packed)
        vectors.append(fitter(Task("helpful")))
    assert close(*vectors)


@pytest.mark.parametrize("plan", [Sequential(), Joint()], ids=["sequential", "joint"])
def test_activations_that_are_computed_again_train_the_same_vectors_bit_for_bit(fitter, plan):
    frugal = replace(fitter, execution=replace(fitter.execution, checkpoint_activations=True))
    frugal = replace(frugal, store=Store(fitter.store.root.parent / "frugal"))
    for vector, other in zip(*(plan.train(["helpful", "harmless"], task) for task in (fitter, frugal)), strict=True):
        assert vector.key == other.key
        assert all(torch.equal(f.a, other.factors[name].a) for name, f in vector.factors.items())
        assert all(torch.equal(f.b, other.factors[name].b) for name, f in vector.factors.items())
