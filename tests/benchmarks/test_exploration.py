"""An exploration's speed in this process: per response, against what is usually done."""

from dataclasses import replace

import pytest
import torch
from measuring import RANK, backbone_of, configuration, medians
from transformers import LlamaConfig

from mva.apps import assemble
from mva.composition.linear import Linear
from mva.data.preference import prompt_id, user_prompt
from mva.data.prompts import evaluation_prompts
from mva.engines.base import Decoding, Request
from mva.engines.hf import HfResponder
from mva.engines.text import response_text
from mva.engines.whole_batches import answer_in_batches
from mva.experiment import open_session
from mva.models.lora import LoraSpec, attach, detach, extract
from mva.pipeline import make_rewards
from mva.policies.merged import MergedPolicy
from mva.policies.per_row import PerRowPolicy
from mva.rewards.scorer import Scorer
from mva.seeding import derive_seed
from mva.stages import Stages

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SMOLLM2 = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}


def small_vectors(backbone, n):
    """Vectors of a size that training gives, so that candidates differ and stay sane."""
    vectors = []
    for seed in range(n):
        model = attach(backbone, LoraSpec(rank=RANK), name=f"v{seed}", seed=seed)
        vector = extract(model, f"v{seed}", base=backbone.fingerprint)
        detach(model)
        generator = torch.Generator().manual_seed(seed)
        factors = {
            name: replace(factor, b=0.01 * torch.randn(factor.b.shape, generator=generator))
            for name, factor in vector.factors.items()
        }
        vectors.append(replace(vector, factors=factors))
    return vectors


def requests_of(backbone, candidates, prompts):
    asked = [(candidate, prompt) for candidate in candidates for prompt in prompts]
    return [
        Request(k, candidate, tuple(backbone.template.prompt_ids(prompt)), prompt, derive_seed(0, prompt_id(prompt)))
        for k, (candidate, prompt) in enumerate(asked)
    ]


def on_a_line(n):
    return [(k / n, 1 - k / n) for k in range(n)]


class Exploration:
    """The default model, prompts and rewards; `seconds_a_response` of different ways to explore."""

    def __init__(self, folder, dtype):
        experiment = assemble.experiment(configuration(f"model.dtype={dtype}"))
        data, _ = experiment.data.load(experiment.values)
        self.session = open_session(experiment, experiment.model.load(), data, Stages(folder))
        self.backbone = self.session.backbone
        self.vectors = small_vectors(self.backbone, 2)
        self.rewards = make_rewards(self.session, [])
        self.prompts = evaluation_prompts(data, "validation", 16)

    def run(self, policy, n_candidates, *, batch_size, n_prompts=16):
        responder = HfResponder(policy.build(self.backbone, self.vectors, Linear()), self.backbone)
        requests = requests_of(self.backbone, on_a_line(n_candidates), self.prompts[:n_prompts])
        decoding = Decoding(40, tuple(self.backbone.template.stop_ids), batch_size=batch_size)
        texts = [
            (requests[response.id].dialogue, response_text(response.tokens, self.backbone, "auto"))
            for response in responder.answer(requests, decoding)
        ]
        Scorer(self.rewards)(texts)


def test_an_exploration_is_faster_than_a_merge_per_candidate(tmp_path, record):
    exploration = Exploration(tmp_path, "float32")
    taken = medians(
        1,
        rows=lambda _turn: exploration.run(PerRowPolicy(), 8, batch_size=64),
        merged=lambda _turn: exploration.run(MergedPolicy(), 2, batch_size=16),
        single=lambda _turn: exploration.run(MergedPolicy(), 1, batch_size=1, n_prompts=4),
    )
    rows, merged, single = taken["rows"] / 128, taken["merged"] / 32, taken["single"] / 4
    details = f"SmolLM2-135M; CPU ms a response, scoring included: {1e3 * rows:.0f}, {1e3 * merged:.0f}, "
    record("explore_batch", merged / rows, f"{details}{1e3 * single:.0f} one at a time")
    record("explore_single", single / rows, f"{details}{1e3 * single:.0f} one at a time")
    assert merged > rows


def test_bfloat16_explores_faster_where_the_processor_has_it(tmp_path, record):
    taken = {}
    for dtype in ("float32", "bfloat16"):
        exploration = Exploration(tmp_path, dtype)
        taken |= medians(1, **{dtype: lambda _turn, e=exploration: e.run(PerRowPolicy(), 4, batch_size=64)})
    ratio = taken["float32"] / taken["bfloat16"]
    record(
        "explore_bfloat16", ratio, f"64 responses of 40 tokens: {taken['float32']:.1f} and {taken['bfloat16']:.1f} s"
    )
    assert ratio > 0.5


def test_responses_of_unequal_length_do_not_wait_for_each_other(record):
    backbone = backbone_of(LlamaConfig(**{**SMOLLM2, "num_hidden_layers": 6}, vocab_size=4096))
    policy = PerRowPolicy().build(backbone, small_vectors(backbone, 2), Linear())
    prompts = [user_prompt(f"Question {k}?") for k in range(32)]
    requests = requests_of(backbone, on_a_line(4), prompts)
    # With random weights about every token is as likely as another: one in 40 ends a response.
    decoding = Decoding(200, tuple(range(0, 4096, 40)), temperature=1.0, batch_size=32)
    lengths = sorted(len(response.tokens) for response in HfResponder(policy, backbone).answer(requests, decoding))
    taken = medians(
        1,
        slots=lambda _turn: list(HfResponder(policy, backbone).answer(requests, decoding)),
        batches=lambda _turn: list(answer_in_batches(policy, backbone, requests, decoding)),
    )
    ratio = taken["batches"] / taken["slots"]
    tenth, median, most = lengths[len(lengths) // 10], lengths[len(lengths) // 2], lengths[-1]
    record("unequal", ratio, f"lengths: tenth {tenth}, median {median}, longest {most} tokens; random Llama, 6 layers")
    assert ratio > 1.2


def test_sampling_costs_little_beside_greedy_decoding(record):
    backbone = backbone_of(LlamaConfig(**SMOLLM2, vocab_size=128_256))
    policy = PerRowPolicy().build(backbone, small_vectors(backbone, 2), Linear())
    requests = requests_of(backbone, [(0.5, 0.5)], [user_prompt(f"Question {k}?") for k in range(64)])
    # Random weights give flat distributions, of which every token is in the nucleus: peaked ones are what models have.
    backbone.model.get_output_embeddings().weight.mul_(20)

    def answer(temperature, top_p):
        decoding = Decoding(6, (), temperature=temperature, top_p=top_p)
        list(HfResponder(policy, backbone).answer(requests, decoding))

    taken = medians(
        3,
        greedy=lambda _turn: answer(0.0, 1.0),
        nucleus=lambda _turn: answer(0.7, 0.9),
        whole=lambda _turn: answer(1.0, 1.0),
    )
    ratios = {name: taken[name] / taken["greedy"] for name in ("nucleus", "whole")}
    details = ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items())
    record("sampled", max(ratios.values()), f"SmolLM2's shapes, 64 prompts, vocabulary 128,256: {details}")
    assert max(ratios.values()) < 1.5


def test_ten_vectors_cost_little_more_than_two(record):
    backbone = backbone_of(LlamaConfig(**SMOLLM2, vocab_size=49_152))
    vectors = small_vectors(backbone, 10)
    prompts = [user_prompt(f"Question {k}?") for k in range(16)]

    def answer(n):
        policy = PerRowPolicy().build(backbone, vectors[:n], Linear())
        requests = requests_of(backbone, [(1 / n,) * n, (0.5 / n,) * n], prompts)
        list(HfResponder(policy, backbone).answer(requests, Decoding(16, ())))

    taken = medians(1, two=lambda _turn: answer(2), five=lambda _turn: answer(5), ten=lambda _turn: answer(10))
    ratio = taken["ten"] / taken["two"]
    record("many_vectors", ratio, f"rank 16 on the attention; five vectors: {taken['five'] / taken['two']:.2f} x")
    assert ratio < 2
