from dataclasses import replace

import pytest
import torch

from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.data.template import Template
from mva.evaluation.generation import GenerationSpec
from mva.models.backbone import load_backbone
from mva.models.merge import merged
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank, ValueVector
from mva.policies.merged import MergedPolicy
from mva.policies.per_row import PerRowPolicy

PROMPTS = [user_prompt(text) for text in ("Hi", "How are you?", "Tell me something.", "x" * 40, "Why?")]
CANDIDATES = [(0.0, 0.0), (1.0, 0.0), (0.5, 1.5)]
REQUESTS = [(candidate, prompt) for prompt in PROMPTS for candidate in CANDIDATES]
GREEDY = GenerationSpec(max_new_tokens=6)
SAMPLED = GenerationSpec(max_new_tokens=6, temperature=0.8, top_p=0.9, seed=3)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(TinyRandom("llama", hidden_size=32), dtype="float64", device="cpu")


def random_vector(backbone, value, seed):
    generator = torch.Generator().manual_seed(seed)
    factors = {
        name: LowRank(
            torch.randn(2, module.in_features, generator=generator, dtype=torch.float64),
            torch.randn(module.out_features, 2, generator=generator, dtype=torch.float64),
            0.3,
        )
        for name, module in backbone.model.named_modules()
        if name.endswith(("q_proj", "o_proj"))
    }
    return ValueVector(value, factors, backbone.fingerprint)


@pytest.fixture(scope="module")
def vectors(backbone):
    return [random_vector(backbone, "kind", 1), random_vector(backbone, "brief", 2)]


@pytest.fixture(scope="module")
def per_row(backbone, vectors):
    return PerRowPolicy().build(backbone, vectors, Linear())


def greedy_tokens(model, template, prompt, n):
    """The oracle: no cache, no padding, no batch."""
    ids = template.prompt_ids(prompt)
    start = len(ids)
    for _ in range(n):
        ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[start:]


def test_greedy_equals_the_argmax_of_one_candidate_and_prompt_at_a_time(generate, backbone, vectors, per_row):
    found = generate(per_row, backbone, REQUESTS, GREEDY)
    for (coefficients, prompt), response in zip(REQUESTS, found, strict=True):
        vector = Linear().compose(vectors, dict(zip(("kind", "brief"), coefficients, strict=True)))
        with merged(backbone, vector) as model, torch.no_grad():
            ids = greedy_tokens(model, backbone.template, prompt, GREEDY.max_new_tokens)
        stops = [k for k, token in enumerate(ids) if token in backbone.template.stop_ids]
        expected = backbone.tokenizer.decode(ids[: stops[0] if stops else None], skip_special_tokens=True).strip()
        assert response == expected


@pytest.mark.parametrize("spec", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_batch_size_and_order_do_not_change_responses(generate, backbone, per_row, spec):
    expected = generate(per_row, backbone, REQUESTS, spec)
    assert len(set(expected)) > len(PROMPTS)  # candidates do differ
    order = torch.randperm(len(REQUESTS), generator=torch.Generator().manual_seed(0)).tolist()
    for batch_size in (1, 4):
        shuffled = generate(per_row, backbone, [REQUESTS[k] for k in order], replace(spec, batch_size=batch_size))
        assert shuffled == [expected[k] for k in order]


def test_a_policy_of_one_candidate_at_a_time_gives_the_same_responses(generate, backbone, vectors, per_row):
    merged_policy = MergedPolicy().build(backbone, vectors, Linear())
    assert generate(merged_policy, backbone, REQUESTS, SAMPLED) == generate(per_row, backbone, REQUESTS, SAMPLED)


def test_other_seeds_give_other_samples(generate, backbone, per_row):
    first = generate(per_row, backbone, REQUESTS, SAMPLED)
    assert generate(per_row, backbone, REQUESTS, SAMPLED) == first
    assert generate(per_row, backbone, REQUESTS, replace(SAMPLED, seed=4)) != first


def test_equal_policies_answer_alike_under_common_random_numbers(generate, backbone, vectors):
    twins = PerRowPolicy().build(backbone, [vectors[0], replace(vectors[0], value="twin")], Linear())
    requests = [(omega, prompt) for prompt in PROMPTS for omega in [(1.0, 0.0), (0.0, 1.0)]]
    responses = generate(twins, backbone, requests, SAMPLED)
    assert responses[::2] == responses[1::2]


def test_a_response_ends_before_the_end_of_turn(generate, backbone, per_row):
    request = ((0.0, 0.0), PROMPTS[1])
    with torch.no_grad():
        ids = greedy_tokens(backbone.model, backbone.template, request[1], 4)
    end = next(k for k in range(1, 4) if ids[k] not in ids[:k])
    template = Template(backbone.tokenizer)
    template.__dict__["stop_ids"] = [ids[end]]  # what the model says at that position ends a turn
    (response,) = generate(per_row, replace(backbone, template=template), [request], GREEDY)
    assert response == backbone.tokenizer.decode(ids[:end]).strip()


def test_long_prompts_lose_the_beginning_of_what_the_user_says(generate, backbone, per_row):
    content = PROMPTS[3][-1].content
    limit = len(backbone.template.prompt_ids(PROMPTS[3])) - 4
    requests = [((0.0, 0.0), prompt) for prompt in (PROMPTS[3], user_prompt(content[4:]))]
    (response, _) = generate(per_row, backbone, requests, replace(GREEDY, max_prompt_tokens=limit))
    (_, expected) = generate(per_row, backbone, requests, GREEDY)
    assert response == expected


def test_dropout_is_off_even_if_the_model_was_left_in_training_mode(generate):
    backbone = load_backbone(TinyRandom("opt", hidden_size=32), dtype="float64", device="cpu")
    policy = MergedPolicy().build(backbone, [ValueVector("kind", {}, backbone.fingerprint)], Linear())
    requests = [((0.0,), prompt) for prompt in PROMPTS]
    backbone.model.eval()
    expected = generate(policy, backbone, requests, GREEDY)
    backbone.model.train()
    assert generate(policy, backbone, requests, GREEDY) == expected


def test_the_model_s_own_generation_settings_do_not_leak_in(generate, backbone, per_row):
    expected = generate(per_row, backbone, REQUESTS, GREEDY)
    own = backbone.model.generation_config
    before = own.to_dict()
    own.update(repetition_penalty=5.0, temperature=0.2, top_k=3, top_p=0.1, do_sample=True)
    try:
        assert generate(per_row, backbone, REQUESTS, GREEDY) == expected
    finally:
        own.update(**before)


def test_advance_counts_every_response(generate, backbone, per_row):
    done = []
    generate(per_row, backbone, REQUESTS, replace(GREEDY, batch_size=4), advance=done.append)
    assert done == [1] * len(REQUESTS)


@pytest.mark.parametrize(
    "setting",
    [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"max_new_tokens": 0}, {"batch_size": 0}],
    ids=str,
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))} is"):
        GenerationSpec(**{"max_new_tokens": 4, **setting})
