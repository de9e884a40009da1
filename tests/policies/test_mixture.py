"""Mixed log-probs, against an oracle without cache, padding or batch."""

from dataclasses import replace

import pytest
import torch

from mva.composition.linear import Linear
from mva.composition.log_probs import LogProbs
from mva.data.preference import user_prompt
from mva.evaluation.generation import GenerationSpec
from mva.models.backbone import load_backbone
from mva.models.merge import merged
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank, ValueVector
from mva.policies.base import Member
from mva.policies.mixture import MixedLogProbs, MixturePolicy
from mva.policies.per_row import PerRowPolicy

PROMPTS = [user_prompt(text) for text in ("Hi", "Tell me something.", "x" * 40)]
GREEDY = GenerationSpec(max_new_tokens=6)
SAMPLED = GenerationSpec(max_new_tokens=6, temperature=0.8, top_p=0.9, seed=3)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(TinyRandom("llama", hidden_size=32), dtype="float64", device="cpu")


@pytest.fixture(scope="module")
def vectors(backbone):
    made = []
    for seed, value in enumerate(["kind", "brief"]):
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
        made.append(ValueVector(value, factors, backbone.fingerprint))
    return made


@pytest.fixture(scope="module")
def mixture(backbone, vectors):
    return MixturePolicy().build(backbone, vectors, LogProbs())


@torch.no_grad()
def oracle(backbone, vectors, omega, prompt):
    """Mix the next-token log-probs of the base and of each vector, one token at a time."""
    ids = backbone.template.prompt_ids(prompt)
    start = len(ids)
    for _ in range(GREEDY.max_new_tokens):
        mixed = (1 - sum(omega)) * backbone.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        for weight, vector in zip(omega, vectors, strict=True):
            with merged(backbone, vector) as model:
                mixed = mixed + weight * model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        ids = [*ids, int(mixed.argmax())]
    stops = [k for k, token in enumerate(ids[start:]) if token in backbone.template.stop_ids]
    end = start + stops[0] if stops else len(ids)
    return backbone.tokenizer.decode(ids[start:end], skip_special_tokens=True).strip()


@pytest.mark.parametrize("omega", [(0.5, 0.5), (0.25, 0.75), (0.0, 1.0), (0.0, 0.0), (0.4, 0.3), (1.5, -0.5)])
def test_greedy_decoding_takes_the_likeliest_token_of_the_mixture(generate, backbone, vectors, mixture, omega):
    found = generate(mixture, backbone, [(omega, prompt) for prompt in PROMPTS], GREEDY)
    assert found == [oracle(backbone, vectors, omega, prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("spec", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_responses_do_not_depend_on_the_batch(generate, backbone, mixture, spec):
    requests = [(omega, prompt) for prompt in PROMPTS for omega in [(1.0, 0.0), (0.5, 0.5), (0.2, 0.3)]]
    together = generate(mixture, backbone, requests, spec)
    assert len(set(together)) > len(PROMPTS)
    for batch_size in (1, 2):
        assert generate(mixture, backbone, requests, replace(spec, batch_size=batch_size)) == together


def test_a_single_vector_speaks_as_without_a_mixture(generate, backbone, vectors, mixture):
    per_row = PerRowPolicy().build(backbone, vectors, Linear())
    requests = [(omega, prompt) for prompt in PROMPTS for omega in [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]]
    assert generate(mixture, backbone, requests, SAMPLED) == generate(per_row, backbone, requests, SAMPLED)


def test_the_mixture_is_a_weighted_mean_of_log_probs_by_hand():
    rows = [(0, Member(0.25, (1.0,))), (0, Member(0.75, (0.0,))), (1, Member(1.0, (0.0,)))]
    scores = torch.tensor([[0.0, 0.0], [3.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    found = MixedLogProbs(rows)(torch.zeros(3, 1), scores)
    log_2, log_z = torch.tensor(2.0).double().log(), (torch.tensor(3.0).double().exp() + 1).log()
    expected = torch.stack([-0.25 * log_2 + 0.75 * (3 - log_z), -0.25 * log_2 - 0.75 * log_z])
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], expected)
    torch.testing.assert_close(found[2], -torch.stack([log_2, log_2]))
