"""What a training step hands to a loss, and that every loss teaches what it should."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from mva.data.packing import pack, pad
from mva.data.tokenization import TokenizedPair
from mva.estimators.correlation import Correlation
from mva.models.backbone import load_backbone
from mva.models.lora import LoraSpec, attach
from mva.models.sources.tiny_random import TinyRandom
from mva.objectives.decorrelation import Decorrelation
from mva.objectives.dpo import DPO
from mva.objectives.ipo import IPO
from mva.objectives.kto_pair import KTOPair
from mva.objectives.orpo import ORPO
from mva.objectives.robust_dpo import RobustDPO
from mva.objectives.simpo import SimPO
from mva.training.module import ValueVectorModule
from mva.training.spec import Recipe, VectorSpec

PAIRS = [
    TokenizedPair((5, 9, 17), (40, 41), (50, 51, 52)),
    TokenizedPair((7, 8), (60, 61, 62, 63), (70,)),
    TokenizedPair((11, 12, 13, 14), (80,), (90, 91)),
]
LENGTHS = torch.tensor([[2, 3], [4, 1], [1, 2]])


@torch.no_grad()
def log_probs_by_hand(model, pair):
    """Each response on its own, unpadded, token by token."""
    sums = []
    for response in (pair.chosen, pair.rejected):
        table = model(torch.tensor([pair.prompt + response])).logits[0].log_softmax(-1)
        first = len(pair.prompt) - 1
        sums.append(sum(table[first + t, token] for t, token in enumerate(response)))
    return torch.stack(sums)


def module_of(objective, *, scale):
    """The module of one vector without a penalty; `scale` takes it away from zero."""
    backbone = load_backbone(TinyRandom("gpt2"), dtype="float64", device="cpu")
    reference = torch.stack([log_probs_by_hand(backbone.model, pair) for pair in PAIRS])
    model = attach(backbone, LoraSpec(rank=2), name="helpful", seed=1).double()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data += scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    spec = VectorSpec(
        value="helpful",
        base=backbone.fingerprint,
        data="d",
        seed=0,
        lora=LoraSpec(rank=2),
        objective=objective,
        decorrelation=Decorrelation(Correlation(), strength=0.0),
        recipe=Recipe(),
    )
    return ValueVectorModule(model, spec, earlier=[], n_batches=1, split_head=True).eval(), reference


@pytest.mark.parametrize("layout", [pack, partial(pad, pad_id=0)], ids=["pack", "pad"])
@pytest.mark.parametrize(
    ("objective", "averaged"),
    [(DPO(), False), (RobustDPO(), False), (KTOPair(), False), (IPO(), True), (SimPO(), True), (ORPO(), True)],
    ids=repr,
)
def test_length_normalised_losses_get_averages_over_the_tokens_and_the_others_sums(objective, averaged, layout):
    module, reference = module_of(objective, scale=0.3)
    loss = sum(module.losses([replace(layout(PAIRS), reference=reference)], 0))
    policy = torch.stack([log_probs_by_hand(module.model, pair) for pair in PAIRS])
    sizes = LENGTHS if averaged else torch.ones_like(LENGTHS)
    expected, chosen, rejected = objective(*(policy / sizes).T, *(reference / sizes).T)
    assert loss.item() == pytest.approx(expected.mean().item(), rel=1e-9)
    margin = module.history[0][1]["train/helpful/reward_margin"]
    assert margin == pytest.approx((chosen - rejected).mean().item(), rel=1e-6)


@pytest.mark.parametrize(
    "objective", [DPO(label_smoothing=0.1), RobustDPO(), KTOPair(), IPO(), SimPO(), ORPO()], ids=repr
)
def test_some_steps_of_training_make_the_chosen_responses_likelier_against_the_rejected_ones(objective):
    module, reference = module_of(objective, scale=0.0)
    batch = replace(pack(PAIRS), reference=reference)
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=0.02)
    for step in range(20):
        optimizer.zero_grad()
        sum(module.losses([batch], step)).backward()
        optimizer.step()
    policy = torch.stack([log_probs_by_hand(module.model, pair) for pair in PAIRS])
    gained = (policy - reference) / LENGTHS
    assert (gained[:, 0] > gained[:, 1] + 0.1).all()
    assert torch.isfinite(policy).all()
