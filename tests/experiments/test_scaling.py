"""The formulas of docs/scaling.md beside real models, and that its tables are theirs."""

import pytest
import torch
from measuring import RANK, backbone_of, with_adapter
from scaling import SEVEN_BILLION, Shapes, Tokens
from scaling_tables import BEGIN, DOCS, END, tables
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig

from mva.data.packing import pad
from mva.data.tokenization import TokenizedPair
from mva.models.log_probs import sequence_log_probs
from mva.models.lora import detach

CONFIG = LlamaConfig(
    hidden_size=64,
    intermediate_size=176,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=300,
    tie_word_embeddings=False,
)
SHAPES = Shapes.of(CONFIG, rank=RANK, targets="attention")


@pytest.fixture(scope="module")
def backbone():
    return backbone_of(CONFIG)


def test_sizes_are_those_of_the_model(backbone):
    assert SHAPES.parameters == backbone.model.num_parameters()
    model = with_adapter(backbone)
    assert SHAPES.lora == sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    detach(model)
    cache = backbone.model(torch.ones(3, 10, dtype=torch.long), use_cache=True).past_key_values
    held = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert SHAPES.cache_bytes("float32") * 30 == 4 * held


def test_operations_are_those_that_torch_counts(backbone):
    tokens, n_pairs = tuple(range(100, 200)), 2
    batch = pad([TokenizedPair(tokens[:40], tokens[:30], tokens[:30])] * n_pairs, pad_id=0)
    # Two rows a pair; torch does not count what its fused attention does.
    counted = Tokens(count=4 * 70, scored=4 * 30, seen=0, repeated=0)
    model = with_adapter(backbone)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        sequence_log_probs(backbone.model, batch, split_head=True)
    with FlopCounterMode(display=False) as both:
        chosen, rejected = sequence_log_probs(model, batch, split_head=True)
        (chosen - rejected).sum().backward()
    detach(model)
    adapters = 2 * SHAPES.lora * counted.count
    assert forward.get_total_flops() - adapters == SHAPES.reference_flops(counted)
    # The first block's input needs no gradient: 3 % with three blocks.
    assert both.get_total_flops() == pytest.approx(SHAPES.training_flops(counted), rel=0.05)


def test_seven_billion_are_seven_billion():
    assert SEVEN_BILLION.parameters == 6_738_415_616


def test_the_page_has_the_tables_that_the_formulas_give():
    assert f"{BEGIN}\n{tables()}\n{END}" in DOCS.read_text()
