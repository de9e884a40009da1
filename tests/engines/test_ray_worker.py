"""A worker of `engine=ray` by itself, without Ray."""

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest

from mva.checks import BadSetting
from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.engines import ray as module
from mva.engines.base import Decoding, EngineContext, EngineFailure, Request, Response, Scoring
from mva.engines.hf import Hf
from mva.engines.ray import Ray, RayEngine
from mva.engines.ray_run import Run, portable
from mva.engines.ray_worker import Recipe, Task, Worker
from mva.models.backbone import ModelSettings
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.policies.per_row import PerRowPolicy
from mva.rewards.length import Length

SETTINGS = ModelSettings(TinyRandom("llama", hidden_size=32), device="cpu")
DECODING = Decoding(max_new_tokens=3, stop_ids=(), batch_size=4)


@pytest.fixture(scope="module")
def backbone():
    return SETTINGS.load()


@pytest.fixture
def recipe(backbone, tmp_path):
    (tmp_path / "marker").touch()
    return Recipe(
        Hf(), SETTINGS, PerRowPolicy(), Linear(), tmp_path, backbone.fingerprint, Store(tmp_path / "cache"),
        tmp_path / "marker", Path.cwd(), 1,
    )  # fmt: skip


def requests_to(backbone, count):
    dialogue = user_prompt("Hi")
    prompt = tuple(backbone.template.prompt_ids(dialogue))
    return [Request(k, (k / count, 1.0), prompt, dialogue, seed=k) for k in range(count)]


def drained(worker, task, requests):
    responses = []
    exchange = worker.exchange(task, requests)
    while exchange.responses:
        responses += exchange.responses
        exchange = worker.exchange(task, [])
    assert exchange.error is None
    return responses


def test_a_worker_answers_and_scores_what_it_is_given_in_any_portions(recipe, backbone, vectors_of):
    worker = Worker(recipe)
    assert worker.load().error is None
    vectors, requests = vectors_of(backbone, ("kind", "brief")), requests_to(backbone, 10)
    scoring = Scoring(lambda _backbone: {"kind": Length()}, "auto")
    cargo = cloudpickle.dumps((vectors, scoring))
    task = Task("first", "d", partial(bytes, cargo), DECODING)
    responses = [*drained(worker, task, requests[:1]), *drained(worker, task, requests[1:])]
    assert sorted(response.id for response in responses) == list(range(10))
    assert all(response.rewards.keys() == {"kind"} for response in responses)
    local = Hf().start(worker_context(recipe, backbone)).responder(vectors)
    assert {r.id: r.tokens for r in responses} == {r.id: r.tokens for r in local.answer(requests, DECODING)}
    # A new run drops what the one before still owed.
    worker.exchange(replace(task, run="second"), requests)
    assert len(drained(worker, replace(task, run="third"), requests[:3])) == 3


def worker_context(recipe, backbone):
    return EngineContext(backbone, SETTINGS, recipe.policy, recipe.composition, recipe.folder, recipe.store)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"base": "another"}, r"^The worker on \S+ loads other weights .*: give all machines"),
        ({"marker": Path("nowhere")}, r"^The worker on \S+ does not see the cache .*: let paths.cache be a folder"),
    ],
)
def test_a_worker_with_another_base_or_another_cache_says_so(recipe, changes, sentence):
    error = Worker(replace(recipe, **changes)).load().error
    assert isinstance(error, EngineFailure)
    with pytest.raises(EngineFailure, match=sentence):
        raise error


def test_a_group_that_is_larger_than_what_is_waiting_is_no_deadlock():
    def answers_at_the_end(requests, _decoding):
        yield [Response(request.id) for request in list(requests)]

    run = Run("name")
    run.start(lambda: answers_at_the_end, DECODING, 1)
    request = Request(0, (1.0,), (5,), user_prompt("Hi"))
    assert [response.id for response in run.exchange([request]).responses] == [0]
    assert [response.id for response in run.exchange([replace(request, id=1)]).responses] == [1]
    run.end()


def test_errors_that_pickle_cannot_take_keep_their_words():
    error = portable(BadSetting("engine.x", "is wrong: mend it."))
    copied = pickle.loads(pickle.dumps(error))
    assert "engine.x is wrong: mend it." in str(copied)
    assert copied.__notes__[0].startswith("In a worker on ")


@pytest.mark.parametrize(
    ("settings", "resources", "placed"),
    [
        ({}, {"CPU": 64.0, "GPU": 8.0}, (8, 1.0)),
        ({"gpus": 0.5}, {"CPU": 64.0, "GPU": 8.0}, (16, 0.5)),
        ({"gpus": 0}, {"CPU": 64.0, "GPU": 8.0}, (16, 0.0)),
        ({}, {"CPU": 64.0}, (16, 0.0)),
        ({}, {"CPU": 2.0}, (1, 0.0)),
        ({"workers": 3, "cpus": 1}, {"CPU": 2.0}, (3, 0.0)),
        ({"gpus": 1}, {"CPU": 64.0}, (1, 1.0)),  # a cluster that may grow
    ],
)
def test_workers_follow_from_what_the_cluster_has(tmp_path, settings, resources, placed):
    context = SimpleNamespace(store=Store(tmp_path), model=SimpleNamespace(device="auto"))
    engine = RayEngine(Ray(Hf(), **settings), context)
    assert engine._placement(resources) == placed
    engine._started_ray = True
    if placed[1] > resources.get("GPU", 0):
        with pytest.raises(EngineFailure, match=r"^engine.gpus is 1, but this machine has 0 GPUs: choose"):
            engine._placement(resources)


def test_settings_that_can_not_be_are_refused(monkeypatch):
    hf = Hf()
    with pytest.raises(BadSetting, match="workers"):
        Ray(hf, workers=0)
    with pytest.raises(BadSetting, match=r"engine\.worker is ray itself"):
        Ray(Ray(hf)).check(PerRowPolicy(), Linear())
    monkeypatch.setattr(module, "_THERE", False)
    with pytest.raises(BadSetting, match=r'engine is ray, which needs .* pip install "mva\[ray\]"'):
        Ray(hf).check(PerRowPolicy(), Linear())
