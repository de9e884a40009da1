"""Many candidates in one batch are faster than one after the other: SmolLM2's shapes with random weights."""

import pytest
from measuring import RANK, backbone_of, medians
from transformers import LlamaConfig

from mva.data.preference import user_prompt
from mva.evaluation.generation import GenerationSpec
from mva.models.coefficient_lora import CoefficientLora
from mva.models.lora import LoraSpec, attach, detach, extract
from mva.policies.per_row import PerRow

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SHAPES = {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3}
N_CANDIDATES, N_TOKENS = 16, 8


def test_many_candidates_in_one_batch_are_faster_than_one_after_the_other(generate, record):
    config = LlamaConfig(**SHAPES, intermediate_size=1536, vocab_size=49152, tie_word_embeddings=True)
    backbone = backbone_of(config)
    vectors = []
    for seed, value in enumerate(["helpful", "harmless"]):
        model = attach(backbone, LoraSpec(rank=RANK), name=value, seed=seed)
        vectors.append(extract(model, value, base=backbone.fingerprint))
        detach(model)
    policy = PerRow(CoefficientLora(backbone, vectors))
    prompt = user_prompt("How do I keep a loaf of bread fresh for a week?")
    coefficients = [(k / N_CANDIDATES, 1 - k / N_CANDIDATES) for k in range(N_CANDIDATES)]
    requests = [(omegas, prompt) for omegas in coefficients]

    def answer(batch_size):
        spec = GenerationSpec(max_new_tokens=N_TOKENS, batch_size=batch_size)
        generate(policy, backbone, requests, spec, advance=lambda _done: None)

    taken = medians(1, apart=lambda _turn: answer(1), together=lambda _turn: answer(N_CANDIDATES))
    ratio = taken["apart"] / taken["together"]
    record(
        "candidates",
        ratio,
        f"SmolLM2's shapes, {N_TOKENS} tokens: {taken['apart']:.1f} and {taken['together']:.1f} CPU s",
    )
    assert ratio > 2
