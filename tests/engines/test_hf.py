"""Which requests take slots, and that it does not show in the responses."""

from dataclasses import replace

import pytest

from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.engines import hf
from mva.evaluation.generation import GenerationSpec
from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import TinyRandom
from mva.policies.per_row import PerRowPolicy

SPECS = [GenerationSpec(max_new_tokens=6), GenerationSpec(max_new_tokens=6, temperature=0.8, top_p=0.9)]
ASKED = [(omega, user_prompt("x" * size)) for size in (1, 30, 60) for omega in ((0.0, 0.0), (1.0, 0.5))]


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(TinyRandom("llama", hidden_size=32), dtype="float64", device="cpu")


@pytest.fixture(scope="module")
def policy(backbone, vectors_of):
    return PerRowPolicy().build(backbone, vectors_of(backbone, ("kind", "brief")), Linear())


@pytest.mark.parametrize("spec", SPECS, ids=["greedy", "sampled"])
@pytest.mark.parametrize("change", [{"slots": False}, {"window": 60}], ids=["no slots", "beyond the window"])
def test_whole_batches_give_the_responses_of_slots(change, spec, backbone, policy, generate, monkeypatch):
    expected = generate(policy, backbone, ASKED, spec)
    assert len(set(expected)) > 3
    in_batches = []
    answer = hf.answer_in_batches

    def counted(policy, backbone, requests, decoding):
        in_batches.extend(requests)
        return answer(policy, backbone, in_batches, decoding)

    monkeypatch.setattr(hf, "answer_in_batches", counted)
    changed = replace(backbone, capabilities=replace(backbone.capabilities, **change))
    assert generate(policy, changed, ASKED, spec) == expected
    assert 0 < len(in_batches) <= len(ASKED)
    assert ("window" in change) == (len(in_batches) < len(ASKED))
