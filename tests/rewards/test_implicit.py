from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.data.tokenization import TokenLimits
from mva.models.backbone import load_backbone
from mva.models.log_probs import Capabilities
from mva.models.merge import merged
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank, ValueVector
from mva.policies.merged import MergedPolicy
from mva.policies.per_row import PerRowPolicy
from mva.rewards.base import RewardContext
from mva.rewards.implicit import Implicit

# Three responses to one prompt, one to another: couples share a row, the odd ones stand alone.
TEXTS = [("Hi", "Hello."), ("Why?", "Because."), ("Hi", ""), ("Hi", "Good day to you.")]
PROMPTS, RESPONSES = [user_prompt(p) for p, _ in TEXTS], [r for _, r in TEXTS]
SPEC = Implicit(beta=0.2, limits=TokenLimits(100, 100), batch_size=2)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(TinyRandom("llama", hidden_size=32), dtype="float64", device="cpu")


@pytest.fixture(scope="module")
def vectors(backbone):
    generator = torch.Generator().manual_seed(0)

    def factor(module):
        a = torch.randn(2, module.in_features, generator=generator, dtype=torch.float64)
        return LowRank(a, torch.randn(module.out_features, 2, generator=generator, dtype=torch.float64), 0.1)

    modules = [(n, m) for n, m in backbone.model.named_modules() if n.endswith("v_proj")]
    return [
        ValueVector(
            value,
            {name: factor(module) for name, module in modules},
            backbone.fingerprint,
            key=f"key-{value}",
        )
        for value in ("kind", "brief")
    ]


def make_context(backbone, vectors, policy_spec=None):
    policy = (policy_spec or PerRowPolicy()).build(backbone, vectors, Linear())
    keys = {vector.value: vector.key for vector in vectors}
    return RewardContext("brief", backbone, SimpleNamespace(), SimpleNamespace(), policy, keys)


def log_prob(model, template, prompt, response):
    """The oracle: one text at a time, token by token."""
    conversation, before = template.conversation_ids(prompt, response).ids, template.prompt_ids(prompt)
    after = conversation[len(before) :]
    with torch.no_grad():
        log_probs = model(torch.tensor([conversation])).logits[0].log_softmax(-1)
    return sum(float(log_probs[len(before) + t - 1, token]) for t, token in enumerate(after))


@pytest.fixture(scope="module")
def expected(backbone, vectors):
    base = [log_prob(backbone.model, backbone.template, p, r) for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    with merged(backbone, vectors[1]) as model:
        adapted = [log_prob(model, backbone.template, p, r) for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    return 0.2 * (torch.tensor(adapted, dtype=torch.float64) - torch.tensor(base, dtype=torch.float64))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("policy", [PerRowPolicy(), MergedPolicy()], ids=["per_row", "merged"])
def test_the_score_is_beta_times_the_log_ratio_of_the_value_s_vector(backbone, vectors, expected, policy, packed):
    able = replace(backbone, capabilities=Capabilities(packed=packed, split_head=True))
    reward = SPEC.build(make_context(able, vectors, policy))
    torch.testing.assert_close(reward.score(PROMPTS, RESPONSES), expected, atol=1e-8, rtol=1e-8)


def test_a_vector_that_changes_nothing_is_worth_nothing(backbone, vectors):
    idle = {name: replace(factor, scaling=0.0) for name, factor in vectors[1].factors.items()}
    reward = SPEC.build(make_context(backbone, [vectors[0], replace(vectors[1], factors=idle)]))
    torch.testing.assert_close(reward.score(PROMPTS, RESPONSES), torch.zeros(4, dtype=torch.float64))


def test_the_key_names_the_vector_and_beta(backbone, vectors):
    key = SPEC.build(make_context(backbone, vectors)).key
    assert replace(SPEC, batch_size=5).build(make_context(backbone, vectors)).key == key
    assert replace(SPEC, beta=0.1).build(make_context(backbone, vectors)).key != key
    assert SPEC.build(make_context(backbone, [vectors[0], replace(vectors[1], key="new")])).key != key


def test_a_value_without_a_vector_is_refused(backbone, vectors):
    with pytest.raises(ValueError, match=r"No vector of 'brief' .*there are \['kind'\]"):
        SPEC.build(make_context(backbone, vectors[:1]))


def test_a_beta_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"^beta is 0"):
        replace(SPEC, beta=0.0)
