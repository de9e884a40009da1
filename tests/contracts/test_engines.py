"""What every engine owes: `conf/engine/` has one file for each.

`engine=vllm` is held to it with a server that answers with the tiny model as vLLM does; with vLLM's own on SmolLM2 in
tests/engines/test_vllm_cpu.py.
"""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.engines.base import NOT_FINITE, Decoding, EngineContext, Request
from mva.engines.hf import Hf
from mva.engines.ray import Ray
from mva.engines.vllm import Vllm
from mva.models.backbone import ModelSettings
from mva.models.merge import merged
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.policies.per_row import PerRowPolicy


def documented():
    """The engine that docs/engines.md writes."""
    text = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(code.splitlines()) <= 60
    names = {"__name__": "one_by_one"}
    exec(compile(code, "docs/engines.md", "exec", dont_inherit=True), names)
    return names["OneByOne"]()


SPECS = {
    "hf": Hf,
    "docs": documented,
    "vllm": Vllm,
    "ray": partial(Ray, Hf(), address="local", workers=2, cpus=1, object_store_memory=100),
}
GREEDY = Decoding(max_new_tokens=6, stop_ids=())
SAMPLED = replace(GREEDY, temperature=0.8, top_p=0.95)
CANDIDATES = [(0.0, 0.0), (1.0, 0.0), (0.5, 1.5)]
TEXTS = ("Hi", "Grüße aus Köln 🌍, 日本語", "Tell me something.", "x" * 40)
SETTINGS = ModelSettings(TinyRandom("llama", hidden_size=32), device="cpu")


@pytest.fixture(scope="module")
def backbone():
    return SETTINGS.load()


@pytest.fixture(scope="module")
def vectors(backbone, vectors_of):
    return vectors_of(backbone, ("kind", "brief"))


@pytest.fixture(scope="module")
def server(fake_vllm):
    with fake_vllm.FakeVllm(fake_vllm.ModelMind(SETTINGS.load())) as server:
        yield server


@pytest.fixture(scope="module", params=SPECS)
def engine(request, backbone, tmp_path_factory):
    if request.param == "ray":
        pytest.importorskip("ray", reason='needs pip install "mva[ray]"')
    of_vllm = {"servers": [request.getfixturevalue("server").url]} if request.param == "vllm" else {}
    spec = SPECS[request.param](**of_vllm)
    policy, composition = PerRowPolicy(), Linear()
    spec.check(policy, composition)
    folder = tmp_path_factory.mktemp("run")
    engine = spec.start(EngineContext(backbone, SETTINGS, policy, composition, folder, Store(folder / "cache")))
    yield engine
    engine.close()
    engine.close()


@pytest.fixture(scope="module")
def responder(engine, vectors):
    return engine.responder(vectors)


@pytest.fixture(scope="module")
def requests(backbone):
    dialogues = [user_prompt(text) for text in TEXTS]
    asked = [(candidate, dialogue) for candidate in CANDIDATES for dialogue in dialogues]
    return [
        Request(k, candidate, tuple(backbone.template.prompt_ids(dialogue)), dialogue, seed=len(dialogue[0].content))
        for k, (candidate, dialogue) in enumerate(asked)
    ]


def answers(responder, requests, decoding):
    responses = list(responder.answer(iter(requests), decoding))
    assert sorted(response.id for response in responses) == sorted(request.id for request in requests)
    assert not any(response.failure for response in responses)
    return {response.id: response.tokens for response in responses}


@torch.no_grad()
def greedy(model, prompt, n_tokens):
    ids = list(prompt)
    for _ in range(n_tokens):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return tuple(ids[len(prompt) :])


def test_the_values_are_in_the_vectors_order(responder):
    assert responder.values == ("kind", "brief")


def test_greedy_responses_are_those_of_merged_weights(responder, requests, backbone, vectors):
    found = answers(responder, requests, GREEDY)
    for request in requests:
        vector = Linear().compose(vectors, dict(zip(responder.values, request.coefficients, strict=True)))
        with merged(backbone, vector) as model:
            assert found[request.id] == greedy(model, request.prompt, 6)


def test_zero_is_the_base_and_other_candidates_are_not(responder, requests, backbone):
    found = answers(responder, requests, GREEDY)
    base = {request.prompt: greedy(backbone.model, request.prompt, 6) for request in requests}
    equal = dict.fromkeys(CANDIDATES, 0)
    for request in requests:
        equal[request.coefficients] += found[request.id] == base[request.prompt]
    assert equal[0.0, 0.0] == len(TEXTS)
    # Adapters that are ignored in silence are the most common fault of engines.
    assert equal[1.0, 0.0] == equal[0.5, 1.5] == 0


def test_samples_depend_on_the_seed_alone(responder, requests):
    together = answers(responder, requests, SAMPLED)
    shuffled = answers(responder, [requests[k] for k in (7, 2, 11, 0)], SAMPLED)
    assert shuffled == {k: together[k] for k in shuffled}
    reseeded = answers(responder, [replace(request, seed=request.seed + 1) for request in requests], SAMPLED)
    assert sum(reseeded[k] != together[k] for k in together) > len(requests) / 2


def test_equal_requests_may_be_asked_twice(responder, requests):
    twice = [replace(requests[0], id=0), replace(requests[0], id=1), replace(requests[0], id=2, seed=99)]
    found = answers(responder, twice, SAMPLED)
    assert found[0] == found[1]


def test_a_response_ends_with_the_stop_token_or_at_the_limit(responder, requests):
    whole = answers(responder, requests, GREEDY)
    stop = whole[3][2]
    stopped = answers(responder, requests, replace(GREEDY, stop_ids=(stop,)))
    for k, tokens in whole.items():
        end = tokens.index(stop) + 1 if stop in tokens else len(tokens)
        assert stopped[k] == tokens[:end]
    assert answers(responder, requests[:2], replace(GREEDY, max_new_tokens=1)) == {k: whole[k][:1] for k in (0, 1)}


def test_no_requests_are_no_responses(responder):
    assert list(responder.answer(iter(()), GREEDY)) == []


def test_logits_that_are_not_finite_fail_and_leave_their_neighbours_alone(responder, requests):
    expected = answers(responder, requests, GREEDY)
    broken = [replace(request, id=100 + request.id, coefficients=(1e38, 1e38)) for request in requests[:3]]
    found = {response.id: response for response in responder.answer(iter([*broken, *requests]), GREEDY)}
    assert [found[request.id].failure for request in broken] == [NOT_FINITE] * 3
    assert {request.id: found[request.id].tokens for request in requests} == expected


def test_an_iterator_may_be_closed_early(responder, requests, backbone):
    expected = answers(responder, requests, GREEDY)
    iterator = responder.answer(iter(requests), replace(GREEDY, batch_size=2))
    next(iterator)
    iterator.close()
    assert answers(responder, requests, GREEDY) == expected


def test_two_sets_of_vectors_do_not_mix(engine, vectors, requests):
    turned = engine.responder(vectors[::-1])
    assert turned.values == ("brief", "kind")
    assert turned.noise == engine.responder(vectors).noise != ""
    straight = answers(engine.responder(vectors), requests, GREEDY)
    swapped = [replace(request, coefficients=request.coefficients[::-1]) for request in requests]
    assert answers(turned, swapped, GREEDY) == straight


def test_many_requests_are_taken_as_they_are_needed(responder, requests):
    taken = []

    def endless():
        for k in range(10_000):
            taken.append(k)
            yield replace(requests[0], id=k)

    iterator = responder.answer(endless(), GREEDY)
    next(iterator)
    iterator.close()
    assert len(taken) < 2000
