"""What `engine=ray` gains by its workers, and what it costs the process that asks."""

import os
import sys
import time
from dataclasses import dataclass
from typing import ClassVar

import pytest

from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.engines.base import Decoding, EngineContext, Request, Response, Scoring
from mva.engines.hf import Hf
from mva.engines.ray import Ray
from mva.evaluation.evaluator import Evaluator
from mva.evaluation.generation import GenerationSpec
from mva.evaluation.ledger import Ledger
from mva.extrapolation.candidate import Candidate
from mva.models.backbone import ModelSettings
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.policies.per_row import PerRowPolicy
from mva.rewards.length import Length

ray = pytest.importorskip("ray", reason='needs pip install "mva[ray]"')
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SETTINGS = ModelSettings(TinyRandom("llama", hidden_size=256, layers=4), device="cpu")
VALUES = ("kind", "brief")
PROMPT = user_prompt("A question of some length, as people ask them.")
RATE = 40.0
TOKENS = 40


@dataclass(frozen=True)
class Simulated:
    """An engine of a fixed rate: it sleeps, and says tokens that depend on the request."""

    rate: float
    noise: ClassVar[str] = "none"

    def check(self, _policy, _composition):
        pass

    def start(self, _context):
        return self

    def responder(self, vectors, _scoring=None):
        values = tuple(vector.value for vector in vectors)
        return type("Responder", (), {"values": values, "answer": lambda _self, *asked: self.answer(*asked)})()

    def answer(self, requests, _decoding):
        since = time.perf_counter()
        for count, request in enumerate(requests, start=1):
            time.sleep(max(0.0, since + count / self.rate - time.perf_counter()))
            yield Response(request.id, tuple(5 + (request.id + k) % 90 for k in range(TOKENS)))

    def close(self):
        pass


@pytest.fixture(scope="module")
def backbone():
    return SETTINGS.load()


@pytest.fixture(scope="module")
def vectors(backbone, vectors_of):
    return vectors_of(backbone, VALUES)


@pytest.fixture(scope="module")
def start(backbone, tmp_path_factory):
    """Start workers of an engine, and wait until all are loaded."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    folder = tmp_path_factory.mktemp("ray")
    engines = []

    def start(worker, count):
        spec = Ray(worker, address="local", workers=count, cpus=1, threads=1, object_store_memory=100)
        engines.append(spec.start(EngineContext(backbone, SETTINGS, PerRowPolicy(), Linear(), folder, Store(folder))))
        hands = engines[-1].hands()
        while not all(hand.ready for hand in hands._all):
            for hand, outcome in hands.finished():
                assert outcome.error is None
                hand.ready = True
        return engines[-1]

    ray.init(num_cpus=16, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
    yield start
    for engine in engines:
        engine.close()
    ray.shutdown()


def rate(engine, backbone, vectors, count, decoding):
    """Responses a second, by the clock."""
    prompt = tuple(backbone.template.prompt_ids(PROMPT))
    responder = engine.responder(vectors)
    requests = [Request(k, (k / count, 0.5), prompt, PROMPT, seed=k) for k in range(count)]
    list(responder.answer(requests[:64], decoding))
    since = time.perf_counter()
    assert len(list(responder.answer(requests, decoding))) == count
    return count / (time.perf_counter() - since)


def test_eight_simulated_workers_do_the_work_of_eight(start, backbone, vectors, record):
    decoding = Decoding(max_new_tokens=TOKENS, stop_ids=(), batch_size=8)
    alone = rate(start(Simulated(RATE), 1), backbone, vectors, 400, decoding)
    together = rate(start(Simulated(RATE), 8), backbone, vectors, 3200, decoding)
    record("ray_eight", together / alone, f"{RATE:g} responses a second each, by the clock")
    assert together / alone > 7


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_two_workers_of_a_thread_do_the_work_of_two(start, backbone, vectors, record):
    decoding = Decoding(max_new_tokens=16, stop_ids=(), batch_size=16)
    alone = rate(start(Hf(), 1), backbone, vectors, 600, decoding)
    together = rate(start(Hf(), 2), backbone, vectors, 1200, decoding)
    record("ray_two", together / alone, f"hf, a tiny Llama: {alone:.0f} and {together:.0f} responses a second")
    assert together / alone > 1.5


def test_the_driver_takes_little_of_a_core(start, backbone, vectors, tmp_path, record):
    scoring = Scoring(lambda _backbone: {"kind": Length(), "brief": Length(sign=-1)}, "auto")
    responder = start(Simulated(500.0), 2).responder(vectors, scoring)
    evaluate = Evaluator(
        responder,
        backbone,
        {"kind": Length(), "brief": Length(sign=-1)},
        prompts=[user_prompt(f"Question {number} of some length, as people ask them.") for number in range(100)],
        split="validation",
        generation=GenerationSpec(max_new_tokens=TOKENS),
        ledger=Ledger(tmp_path),
        vector_keys=dict.fromkeys(VALUES, "k"),
    )
    candidates = [Candidate({"kind": k / 100, "brief": 0.5}) for k in range(110)]
    evaluate(candidates[:10])
    clock, spent = time.perf_counter(), time.process_time()
    evaluate(candidates)
    clock, spent = time.perf_counter() - clock, time.process_time() - spent
    words = f"{spent:.2f} CPU s for 10,000, {10_000 / clock:.0f} a second"
    record("driver", spent / 10, f"evaluator and ledger included: {words}")
    assert spent / 10 < 0.4
