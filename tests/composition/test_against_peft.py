"""PEFT composes A and B apart: by how much that differs from composing the updates."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from mva.composition.dare import Dare
from mva.composition.linear import Linear
from mva.composition.ties import Ties
from mva.models.value_vector import LowRank, ValueVector

OMEGA = {"x": 1.0, "y": 1.0}


class Projection(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = torch.nn.Linear(24, 16, bias=False, dtype=torch.float64)

    def forward(self, x):
        return self.proj(x)


@pytest.fixture
def peft_model():
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["proj"])
    model = get_peft_model(Projection(), config, adapter_name="x")
    model.add_adapter("y", config)
    generator = torch.Generator().manual_seed(0)
    layer = model.base_model.model.proj
    for name in OMEGA:
        for factor in (layer.lora_A, layer.lora_B):
            shape = factor[name].weight.shape
            factor[name].weight.data = torch.randn(shape, generator=generator, dtype=torch.float64)
    return model


@pytest.fixture
def vectors(peft_model):
    layer = peft_model.base_model.model.proj
    return [
        ValueVector(
            name, {"proj": LowRank(layer.lora_A[name].weight.data, layer.lora_B[name].weight.data, 2.0)}, "base"
        )
        for name in OMEGA
    ]


def by_peft(model, combination, *, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_weighted_adapter(list(OMEGA), [1.0, 1.0], "both", combination_type=combination, density=0.5)
    update = model.base_model.model.proj.get_delta_weight("both").detach().clone()
    model.delete_adapter("both")
    return update


def by_mva(composition, vectors):
    return composition.compose(vectors, OMEGA).factors["proj"].update()


def relative_error(update, exact):
    return float((update - exact).norm() / exact.norm())


# The update that PEFT makes is as far from the composition of the updates as nothing at all would be (1), or further.
@pytest.mark.parametrize(
    ("combination", "composition", "error"),
    [
        ("cat", Linear(), 0.0),
        ("ties", Ties(density=0.5), 1.00),
        ("dare_linear", Dare(drop=0.5), 1.79),
        ("dare_ties", Dare(drop=0.5, then=Ties(density=1)), 1.93),
    ],
)
def test_factors_composed_apart_are_far_from_composed_updates(peft_model, vectors, combination, composition, error):
    measured = relative_error(by_peft(peft_model, combination), by_mva(composition, vectors))
    assert measured == pytest.approx(error, abs=0.005)


def test_in_the_mean_over_masks_pefts_dare_is_the_average_of_factors_with_cross_terms(peft_model, vectors):
    mean = torch.stack([by_peft(peft_model, "dare_linear", seed=seed) for seed in range(300)]).mean(dim=0)
    factors = [v.factors["proj"] for v in vectors]
    with_cross_terms = 2 * sum(f.b for f in factors) @ sum(f.a for f in factors)
    assert relative_error(mean, with_cross_terms) < 0.15
    assert relative_error(mean, by_mva(Linear(), vectors)) > 0.9
