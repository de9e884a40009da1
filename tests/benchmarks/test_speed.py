"""Where the speed comes from, as ratios measured side by side on SmolLM2's shapes with random weights."""

import time

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from mva.data.packing import pack, pad
from mva.data.preference import user_prompt
from mva.data.template import Template
from mva.data.tokenization import TokenizedPair
from mva.evaluation.generation import GenerationSpec
from mva.models.attention import take_packed_rows
from mva.models.backbone import Backbone
from mva.models.coefficient_lora import CoefficientLora
from mva.models.log_probs import Capabilities, sequence_log_probs
from mva.models.lora import LoraSpec, attach, detach, extract
from mva.models.sources.tiny_random import byte_tokenizer
from mva.policies.per_row import PerRow

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SHAPES = {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3}


@pytest.fixture(scope="module")
def backbone():
    tokenizer = byte_tokenizer()
    config = LlamaConfig(**SHAPES, intermediate_size=1536, vocab_size=49152, tie_word_embeddings=True)
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    take_packed_rows(model)
    return Backbone(
        model, tokenizer, Template(tokenizer), "shapes", "shapes", Capabilities(packed=True, split_head=True)
    )


def seconds(function, repeats):
    function()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def test_packed_pairs_train_faster_than_padded_ones(backbone):
    generator = torch.Generator().manual_seed(0)

    def tokens(size):
        return tuple(torch.randint(49152, (size,), generator=generator).tolist())

    pairs = [TokenizedPair(tokens(128), tokens(64), tokens(64)) for _ in range(4)]
    model = attach(backbone, LoraSpec(rank=16), name="helpful", seed=0)
    batches = {"packed": pack(pairs), "padded": pad(pairs, pad_id=0)}

    def step(name):
        chosen, rejected = sequence_log_probs(model, batches[name], split_head=name == "packed")
        torch.nn.functional.softplus(rejected - chosen).mean().backward()

    taken = {name: seconds(lambda name=name: step(name), 2) for name in ("padded", "packed")}
    detach(model)
    print(
        f"\npadded {taken['padded']:.2f} s, packed {taken['packed']:.2f} s: {taken['padded'] / taken['packed']:.2f} times"
    )
    assert taken["padded"] > 1.3 * taken["packed"]


def test_many_candidates_in_one_batch_are_faster_than_one_after_the_other(generate, backbone):
    vectors = []
    for seed, value in enumerate(["helpful", "harmless"]):
        model = attach(backbone, LoraSpec(rank=16), name=value, seed=seed)
        vectors.append(extract(model, value, base="shapes"))
        detach(model)
    policy = PerRow(CoefficientLora(backbone, vectors))
    prompt = user_prompt("How do I keep a loaf of bread fresh for a week?")
    requests = [((i / 16, 1 - i / 16), prompt) for i in range(16)]

    def answer(batch_size):
        spec = GenerationSpec(max_new_tokens=16, batch_size=batch_size)
        generate(policy, backbone, requests, spec, advance=lambda _done: None)

    taken = {size: seconds(lambda size=size: answer(size), 1) for size in (1, 16)}
    print(f"\none at a time {taken[1]:.1f} s, one batch {taken[16]:.1f} s: {taken[1] / taken[16]:.1f} times")
    assert taken[1] > 3 * taken[16]
