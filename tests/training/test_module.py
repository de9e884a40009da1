"""One step of the objective against the same by hand, in float64 (GPT-2: Llama's norm rounds to float32)."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

from mva.data.packing import pack
from mva.data.tokenization import TokenizedPair
from mva.estimators.correlation import Correlation
from mva.models.backbone import load_backbone
from mva.models.lora import LoraSpec, attach, live_factors
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank, ValueVector
from mva.objectives.decorrelation import Decorrelation
from mva.objectives.dpo import DPO
from mva.training.module import ValueVectorModule
from mva.training.spec import Recipe, VectorSpec

PAIRS = [
    TokenizedPair((5, 9, 17), (40, 41), (50, 51, 52)),
    TokenizedPair((7, 8), (60, 61, 62, 63), (70,)),
    TokenizedPair((11, 12, 13, 14), (80,), (90, 91)),
]
STRENGTH, BETA = 3.0, 0.5


@dataclass(frozen=True)
class Broken:
    """A loss that is not finite."""

    result: float

    def __call__(self, policy_chosen, policy_rejected, *_reference):
        return (
            policy_chosen * 0 + torch.tensor(self.result),
            policy_chosen.detach(),
            policy_rejected.detach(),
        )


def noise(shape, seed):
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
def log_probs_by_hand(model, pair):
    """Each response on its own, unpadded, token by token."""
    sums = []
    for response in (pair.chosen, pair.rejected):
        table = model(torch.tensor([pair.prompt + response])).logits[0].log_softmax(-1)
        first = len(pair.prompt) - 1
        sums.append(sum(table[first + t, token] for t, token in enumerate(response)))
    return torch.stack(sums)


@pytest.fixture
def reference():
    """The base's log-probs, from a base that never saw an adapter."""
    base = load_backbone(TinyRandom("gpt2"), dtype="float64", device="cpu").model
    return torch.stack([log_probs_by_hand(base, pair) for pair in PAIRS])


@pytest.fixture
def module():
    """The module of a vector away from zero, with two earlier vectors."""
    backbone = load_backbone(TinyRandom("gpt2"), dtype="float64", device="cpu")
    model = attach(backbone, LoraSpec(rank=2), name="harmless", seed=1).double()
    factors = live_factors(model, "harmless")
    for i, factor in enumerate(factors.values()):
        factor.b.data.copy_(noise(factor.b.shape, i))
    earlier = [
        ValueVector(
            value,
            {
                n: LowRank(noise(f.a.shape, 10 * k + i), noise(f.b.shape, 20 * k + i), 1.5)
                for i, (n, f) in enumerate(factors.items())
            },
            base=backbone.fingerprint,
        )
        for k, value in enumerate(["helpful", "honest"], start=1)
    ]
    spec = VectorSpec(
        value="harmless",
        base=backbone.fingerprint,
        data="d",
        seed=0,
        lora=LoraSpec(rank=2),
        objective=DPO(beta=BETA),
        decorrelation=Decorrelation(Correlation(), strength=STRENGTH),
        recipe=Recipe(accumulate=2),
        earlier=("k1", "k2"),
    )
    return ValueVectorModule(model, spec, earlier=earlier, n_batches=5, split_head=True).eval()


def batch_of(module, reference):
    return replace(pack(PAIRS), reference=reference)


def test_the_loss_is_the_mean_preference_loss_plus_the_penalty(module, reference):
    loss = sum(module.losses([batch_of(module, reference)], 0))
    policy = torch.stack([log_probs_by_hand(module.model, pair) for pair in PAIRS])
    margins = BETA * ((policy - reference)[:, 0] - (policy - reference)[:, 1])
    preference = torch.log1p(torch.exp(-margins)).mean()
    dependence = 0.0
    for other in module.earlier:
        for name, factor in live_factors(module.model, "harmless").items():
            x, y = factor.update().detach().flatten(), other[name].update().flatten()
            dependence += float((x @ y) ** 2 / ((x @ x) * (y @ y)))
    assert abs(margins).min() > 1e-3, "policy and reference policy differ"
    assert loss.item() == pytest.approx(preference.item() + STRENGTH * dependence, rel=1e-9)
    (step, metrics) = module.history[0]
    assert step == 1
    assert {name.removeprefix("train/harmless/"): value for name, value in metrics.items()} == pytest.approx(
        {
            "loss": loss.item(),
            "preference_loss": preference.item(),
            "accuracy": (margins > 0).double().mean().item(),
            "reward_margin": margins.mean().item(),
            "dependence": dependence,
            "penalty": STRENGTH * dependence,
        }
    )


def test_only_the_adapter_gets_a_gradient(module, reference):
    sum(module.losses([batch_of(module, reference)], 0)).backward()
    with_gradient = {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert with_gradient == {name for name, _ in module.named_parameters() if ".lora_" in name}
    assert not any(f.a.requires_grad or f.b.requires_grad for other in module.earlier for f in other.values())


def test_the_gradient_is_that_of_finite_differences(module, reference):
    batch = batch_of(module, reference)
    weight = next(iter(live_factors(module.model, "harmless").values())).b
    sum(module.losses([batch], 0)).backward()
    direction, size = noise(weight.shape, 99), 1e-5
    with torch.no_grad():
        weight += size * direction
        up = sum(module.losses([batch], 0))
        weight -= 2 * size * direction
        down = sum(module.losses([batch], 0))
    assert ((up - down) / (2 * size)).item() == pytest.approx((weight.grad * direction).sum().item(), rel=1e-6)


@pytest.mark.parametrize("result", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_a_sentence(module, reference, result):
    module.spec = replace(module.spec, objective=Broken(result))
    sum(module.losses([batch_of(module, reference)], 4))
    with pytest.raises(FloatingPointError, match=f"'harmless' became {result} at step 4: lower trainer.learning_rate"):
        _ = module.history


def test_a_batch_without_reference_log_probs_is_refused(module):
    with pytest.raises(ValueError, match="no reference log-probs"):
        next(module.losses([pack(PAIRS)], 0))


def test_validation_is_told_over_all_held_out_pairs(module, reference):
    batch = batch_of(module, reference)
    _, chosen, rejected = module._preference([batch])
    module.on_validation_epoch_start()
    for rows in ([0, 1], [2]):
        part = pack([PAIRS[row] for row in rows])
        module.validation_step([replace(part, reference=reference[rows])], 0)
    module.on_validation_epoch_end()
    assert module.history == [
        (
            5,
            {
                "validation/harmless/accuracy": pytest.approx((chosen > rejected).double().mean().item()),
                "validation/harmless/reward_margin": pytest.approx((chosen - rejected).mean().item()),
            },
        )
    ]


def test_the_optimizer_holds_the_adapter_and_the_schedule_counts_optimizer_steps(module):
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for name, p in module.named_parameters() if ".lora_" in name}
    rates = [schedule.get_last_lr()[0]]
    for _ in range(3):  # 5 batches, 2 an optimizer step: 3 steps, of which the first warms up
        optimizer.step()
        schedule.step()
        rates += schedule.get_last_lr()
    assert rates == pytest.approx([0.5e-5, 1e-5, 0.5e-5, 0.0], abs=1e-12)
