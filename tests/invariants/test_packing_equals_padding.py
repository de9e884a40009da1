"""Packed and padded batches, and one sequence at a time by hand, give the same log-probs on every architecture."""

import pytest
import torch

from mva.data.packing import pack, pad
from mva.data.tokenization import TokenizedPair
from mva.models.backbone import load_backbone
from mva.models.keyed_dropout import Dropout, dropping
from mva.models.log_probs import Capabilities, detect_capabilities, sequence_log_probs
from mva.models.lora import LoraSpec, attach, detach
from mva.models.sources.tiny_random import ARCHITECTURES, TinyRandom

PAIRS = [
    TokenizedPair((5, 6, 7, 8), (9, 10, 11), (12, 13, 14, 15, 16)),
    TokenizedPair((20, 21), (22,), (23, 24)),
    TokenizedPair(tuple(range(30, 45)), (50, 51, 52, 53), (50, 51, 60)),
]


ATOL = 1e-6  # Gemma normalises in float32 whatever the dtype


@pytest.fixture(params=ARCHITECTURES)
def backbone(request):
    return load_backbone(TinyRandom(request.param), dtype="float64", device="cpu")


def by_hand(model, prompt, response):
    """Sum of log-probs of the response's tokens, from the full logits of one unpadded row."""
    ids = torch.tensor([[*prompt, *response]])
    log_probs = model(ids).logits[0].log_softmax(-1)
    return sum(log_probs[len(prompt) - 1 + t, token] for t, token in enumerate(response))


@torch.no_grad()
def test_every_layout_gives_the_log_probs_of_single_sequences(backbone):
    chosen = torch.stack([by_hand(backbone.model, p.prompt, p.chosen) for p in PAIRS])
    rejected = torch.stack([by_hand(backbone.model, p.prompt, p.rejected) for p in PAIRS])
    for batch in (pad(PAIRS, pad_id=0), pack(PAIRS)):
        for split_head in {False, backbone.capabilities.split_head}:
            found = sequence_log_probs(backbone.model, batch, split_head=split_head)
            torch.testing.assert_close(found, (chosen, rejected), atol=ATOL, rtol=0)


def test_every_tiny_architecture_takes_packed_rows(backbone):
    assert backbone.capabilities.packed


def test_soft_capped_logits_are_found_out(backbone):
    capped = getattr(backbone.model.config, "final_logit_softcapping", None) is not None
    assert backbone.capabilities.split_head is not capped


@torch.no_grad()
def test_an_adapter_changes_both_layouts_alike(backbone):
    model = attach(backbone, LoraSpec(rank=4), name="helpful", seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    packed = sequence_log_probs(model, pack(PAIRS), split_head=False)
    padded = sequence_log_probs(model, pad(PAIRS, pad_id=0), split_head=False)
    detach(model)
    base = sequence_log_probs(backbone.model, pad(PAIRS, pad_id=0), split_head=False)
    torch.testing.assert_close(packed, padded, atol=ATOL, rtol=0)
    assert not torch.allclose(packed[0], base[0], atol=1e-3)


@torch.no_grad()
def test_neither_the_padding_nor_the_order_of_the_batch_matters(backbone):
    alone = [sequence_log_probs(backbone.model, pack([p]), split_head=False) for p in PAIRS]
    backwards = pack(PAIRS[::-1])
    chosen, rejected = sequence_log_probs(backbone.model, backwards, split_head=False)
    torch.testing.assert_close(chosen.flip(0), torch.cat([c for c, _ in alone]), atol=ATOL, rtol=0)
    torch.testing.assert_close(rejected.flip(0), torch.cat([r for _, r in alone]), atol=ATOL, rtol=0)


class IgnoresMasks(torch.nn.Module):
    """A model that takes a mask and does not look at it, as an architecture without 4-D masks does."""

    def __init__(self, model):
        super().__init__()
        self.inner = model

    def forward(self, input_ids, attention_mask, position_ids, use_cache):
        return self.inner(input_ids, position_ids=position_ids, use_cache=use_cache)


class ScalesItsLogits(torch.nn.Module):
    """A model whose logits are more than head(decoder(x))."""

    def __init__(self, model):
        super().__init__()
        self.inner = model
        self.get_decoder, self.get_output_embeddings = model.get_decoder, model.get_output_embeddings

    def forward(self, **inputs):
        output = self.inner(**inputs)
        output.logits = 0.5 * output.logits
        return output


def test_what_an_architecture_can_do_is_found_by_trying():
    model = load_backbone(TinyRandom("llama"), device="cpu").model
    size = model.get_input_embeddings().num_embeddings
    assert detect_capabilities(model, vocabulary_size=size) == Capabilities(packed=True, split_head=True, slots=True)
    assert detect_capabilities(IgnoresMasks(model), vocabulary_size=size) == Capabilities(
        packed=False, split_head=False
    )
    assert detect_capabilities(ScalesItsLogits(model), vocabulary_size=size) == Capabilities(
        packed=True, split_head=False, slots=True
    )


def test_both_layouts_give_the_same_gradient_dropout_included(backbone):
    model = attach(backbone, LoraSpec(rank=4), name="helpful", seed=0)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = []
    for i, parameter in enumerate(trained):
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(i))
    for batch in (pack(PAIRS), pad(PAIRS, pad_id=0)):
        with dropping(model, "helpful", Dropout(0.3, batch.token_keys(0))):
            chosen, rejected = sequence_log_probs(model, batch, split_head=backbone.capabilities.split_head)
        gradients.append(torch.autograd.grad(torch.nn.functional.softplus(rejected - chosen).mean(), trained))
    detach(model)
    torch.testing.assert_close(gradients[0], gradients[1], atol=ATOL, rtol=0)
    assert sum(gradient.abs().sum() for gradient in gradients[0]) > 1e-3
