"""Activations that are computed again give the same gradients and are not kept."""

from contextlib import nullcontext

import pytest
import torch

from mva.data.packing import pack, pad
from mva.data.tokenization import TokenizedPair
from mva.models.backbone import load_backbone
from mva.models.blocks import activations_recomputed, transformer_blocks
from mva.models.coefficient_lora import gated, stack
from mva.models.keyed_dropout import Dropout, dropping
from mva.models.log_probs import sequence_log_probs
from mva.models.lora import LoraSpec, attach, detach, live_factors
from mva.models.sources.tiny_random import ARCHITECTURES, TinyRandom
from mva.models.value_vector import LowRank

PAIRS = [TokenizedPair(tuple(range(3, 40)), tuple(range(50, 90)), tuple(range(90, 120))) for _ in range(3)]


def loaded(architecture):
    return load_backbone(TinyRandom(architecture, layers=6), device="cpu")


def gradient_and_saved(backbone, trained, log_probs, *, active):
    """The gradient of a loss, and the bytes that the forward pass kept of other things than weights."""
    weights = {p.data_ptr() for p in backbone.model.parameters()} | {p.data_ptr() for p in trained}
    saved = {}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            saved[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with activations_recomputed(backbone.model, active=active):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            chosen, rejected = log_probs()
        gradient = torch.autograd.grad(torch.nn.functional.softplus(rejected - chosen).sum(), trained)
    return gradient, sum(saved.values())


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_peak_falls_and_the_gradients_stay(architecture, layout):
    backbone = loaded(architecture)
    model = attach(backbone, LoraSpec(rank=4), name="helpful", seed=0)
    backbone.model.eval()  # as while it is trained: HF's own switch would do nothing
    trained = [p for p in model.parameters() if p.requires_grad]
    for i, parameter in enumerate(trained):
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(i))
    batch = pack(PAIRS) if layout == "packed" else pad(PAIRS, pad_id=0)

    def log_probs():
        with dropping(model, "helpful", Dropout(0.3, batch.token_keys(0))):
            return sequence_log_probs(model, batch, split_head=backbone.capabilities.split_head)

    kept, all_bytes = gradient_and_saved(backbone, trained, log_probs, active=False)
    recomputed, few_bytes = gradient_and_saved(backbone, trained, log_probs, active=True)
    detach(model)
    assert all(torch.equal(a, b) for a, b in zip(kept, recomputed, strict=True))
    assert sum(g.abs().sum() for g in kept) > 0
    assert few_bytes < 0.35 * all_bytes


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_gates_by_row_hang_on_the_blocks_again(rate):
    backbone = loaded("llama")
    model = attach(backbone, LoraSpec(rank=4), name="helpful", seed=0)
    shapes = {name: (f.a.shape, f.b.shape) for name, f in live_factors(model, "helpful").items()}
    detach(model)
    generator = torch.Generator().manual_seed(0)

    def vector():
        return {
            name: LowRank(*(torch.randn(shape, generator=generator).mul(0.1).requires_grad_() for shape in two), 1.0)
            for name, two in shapes.items()
        }

    vectors, batch = [vector(), vector()], pack(PAIRS)
    trained = [side for factors in vectors for f in factors.values() for side in (f.a, f.b)]
    gate = batch.by_token(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]))
    dropout = Dropout(rate, batch.token_keys(0)) if rate else None

    def log_probs():
        with gated(stack(backbone.model, vectors), gate, dropout=dropout):
            return sequence_log_probs(backbone.model, batch, split_head=True)

    kept, all_bytes = gradient_and_saved(backbone, trained, log_probs, active=False)
    recomputed, few_bytes = gradient_and_saved(backbone, trained, log_probs, active=True)
    assert all(torch.equal(a, b) for a, b in zip(kept, recomputed, strict=True))
    assert few_bytes < 0.35 * all_bytes
    assert not any(module._forward_hooks for module in transformer_blocks(backbone.model).modules())


@pytest.mark.parametrize("active", [True, False])
def test_afterwards_the_blocks_are_what_they_were(active):
    backbone = loaded("llama")
    with pytest.raises(RuntimeError), activations_recomputed(backbone.model, active=active), nullcontext():
        raise RuntimeError
    assert not any("forward" in vars(block) for block in transformer_blocks(backbone.model))
