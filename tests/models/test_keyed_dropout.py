"""What dropout drops: the stated share, unrelated between modules, and nothing once the `with` is left."""

import pytest
import torch

from mva.counter_noise import combined
from mva.data.packing import pack
from mva.data.tokenization import TokenizedPair
from mva.models.backbone import load_backbone
from mva.models.keyed_dropout import Dropout, dropping
from mva.models.log_probs import sequence_log_probs
from mva.models.lora import LoraSpec, attach, live_factors
from mva.models.sources.tiny_random import TinyRandom

KEYS = combined(torch.arange(200))[None]


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5, 0.99])
def test_the_stated_share_is_dropped_and_the_rest_made_larger(rate):
    dropped = Dropout(rate, KEYS)(torch.ones(1, 200, 1000), "module")
    assert (dropped == 0).double().mean().item() == pytest.approx(rate, abs=5 * (rate * (1 - rate) / 200_000) ** 0.5)
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / (1 - rate)])


def test_modules_drop_unrelated_features():
    first, second = (Dropout(0.3, KEYS)(torch.ones(1, 200, 1000), name) == 0 for name in ("q_proj", "k_proj"))
    assert (first & second).double().mean().item() == pytest.approx(0.09, abs=0.004)


def test_flattened_inputs_and_other_precisions_are_dropped_alike():
    x = torch.ones(1, 200, 64)
    dropped = Dropout(0.25, KEYS)(x, "module") == 0
    assert torch.equal(Dropout(0.25, KEYS)(x[0], "module") == 0, dropped[0])
    half = Dropout(0.25, KEYS)(x.bfloat16(), "module")
    assert half.dtype == torch.bfloat16
    assert torch.equal(half == 0, dropped)


def test_an_adapter_reads_what_is_left_inside_the_with_alone():
    backbone = load_backbone(TinyRandom("llama"), device="cpu")
    model = attach(backbone, LoraSpec(rank=2), name="helpful", seed=0)
    for i, factor in enumerate(live_factors(model, "helpful").values()):
        torch.nn.init.normal_(factor.b, generator=torch.Generator().manual_seed(i))
    batch = pack([TokenizedPair((5, 6, 7), (8, 9), (10, 11, 12))])

    def log_probs():
        return torch.cat(sequence_log_probs(model, batch, split_head=True))

    whole = log_probs()
    with dropping(model, "helpful", Dropout(0.3, batch.token_keys(1))):
        dropped, again = log_probs(), log_probs()
    with dropping(model, "helpful", Dropout(0.3, batch.token_keys(2))):
        otherwise = log_probs()
    assert torch.equal(dropped, again)
    assert not torch.allclose(dropped, whole, atol=1e-3)
    assert not torch.allclose(dropped, otherwise, atol=1e-3)
    assert torch.equal(log_probs(), whole)
    with dropping(model, "another", Dropout(0.3, batch.token_keys(1))):
        assert torch.equal(log_probs(), whole)
