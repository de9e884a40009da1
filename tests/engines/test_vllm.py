"""`engine=vllm` against servers that misbehave (tests/engines/fake_vllm.py)."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mva.checks import BadSetting
from mva.composition.average import Average
from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.engines import bound_process, vllm, vllm_server
from mva.engines.base import NOT_FINITE, Decoding, EngineContext, EngineFailure, Request
from mva.engines.hf import HfResponder
from mva.engines.vllm import Vllm
from mva.engines.vllm_adapters import served_rank
from mva.models.backbone import ModelSettings
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.models.value_vector import LowRank
from mva.policies.merged import MergedPolicy
from mva.policies.per_row import PerRowPolicy

SETTINGS = ModelSettings(TinyRandom("llama", hidden_size=32), device="cpu")
GREEDY = Decoding(max_new_tokens=3, stop_ids=())
POLICY, LINEAR = PerRowPolicy(), Linear()
FAKE = Path(__file__).parent / "fake_vllm.py"
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def backbone():
    return SETTINGS.load()


@pytest.fixture(scope="module")
def vectors(backbone, vectors_of):
    return vectors_of(backbone, ("kind", "brief"))


@pytest.fixture(scope="module")
def requests(backbone):
    """Six candidates (the first is the base) and four prompts; candidates change with every request."""
    asked = [((k / 2, 1 - k / 2) if k else (0.0, 0.0), user_prompt(f"Say {n}.")) for n in range(4) for k in range(6)]
    return [
        Request(i, coefficients, tuple(backbone.template.prompt_ids(dialogue)), dialogue)
        for i, (coefficients, dialogue) in enumerate(asked)
    ]


@pytest.fixture(scope="module")
def expected(backbone, vectors, requests):
    responder = HfResponder(PerRowPolicy().build(backbone, vectors, Linear()), backbone)
    return {response.id: response.tokens for response in responder.answer(requests, GREEDY)}


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(vllm_server, "_BACK_OFF", 0.01)
    monkeypatch.setattr(vllm_server, "_POLL", 0.05)
    monkeypatch.setattr(vllm, "_GIVEN_PATIENCE", 0.2)


@pytest.fixture
def closing():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(closing, fake_vllm):
    """Start a server of the tiny model; `settings` are attributes of it."""

    def serve(**settings):
        server = closing.enter_context(fake_vllm.FakeVllm(fake_vllm.ModelMind(SETTINGS.load())))
        for name, setting in settings.items():
            setattr(server, name, setting)
        return server

    return serve


@pytest.fixture
def start(closing, backbone, tmp_path):
    """Start an engine, with given servers or a Python of its own."""

    def start(*servers, **settings):
        spec = Vllm(servers=[server.url for server in servers], **{"max_loras": 2, "in_flight": 2, **settings})
        context = EngineContext(backbone, SETTINGS, PerRowPolicy(), Linear(), tmp_path, Store(tmp_path / "cache"))
        engine = spec.start(context)
        closing.callback(engine.close)
        return engine

    return start


@pytest.fixture
def python(tmp_path):
    """A Python that has vLLM, as far as can be seen from outside."""

    def python(version="0.32.0", server=f"exec {sys.executable} {FAKE}"):
        path = tmp_path / "python"
        path.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo {version}; else shift 2; {server} "$@"; fi\n')
        path.chmod(0o755)
        return str(path)

    return python


def answers(responder, requests):
    responses = list(responder.answer(iter(requests), GREEDY))
    assert sorted(response.id for response in responses) == [request.id for request in requests]
    return {response.id: response.tokens for response in responses}


def test_adapters_pass_through_the_window_once_each(serve, start, vectors, requests, expected):
    server = serve()
    engine = start(server, in_flight=7)  # looks 28 requests ahead
    assert answers(engine.responder(vectors), requests) == expected
    loads = [body["lora_name"] for path, body in server.log if path == "/v1/load_lora_adapter" and body]
    assert len(loads) == len(set(loads)) == 6
    assert server.most_loaded == 2
    assert 3 <= server.most_at_once <= 7
    folder = Path(engine._folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(server.adapters)
    engine.close()
    assert not folder.exists()


def test_two_servers_share_the_requests(serve, start, vectors, requests, expected):
    servers = serve(), serve()
    assert answers(start(*servers).responder(vectors), requests) == expected
    counts = [sum(path == "/v1/completions" for path, _ in server.log) for server in servers]
    assert min(counts) > len(requests) / 4


def test_answers_that_are_none_are_asked_for_again(serve, start, vectors, requests, expected):
    server = serve(script=[503, "half", "rubbish", "text", 500])
    responder = start(server).responder(vectors)
    zero = [request for request in requests if not any(request.coefficients)]
    few = [replace(zero[k % 4], id=k) for k in range(12)]
    assert answers(responder, few) == {k: expected[zero[k % 4].id] for k in range(12)}
    assert not server.script


def test_a_server_that_goes_leaves_its_requests_to_the_others(serve, start, vectors, requests, expected, capfd):
    servers = serve(seconds=0.02), serve(seconds=0.02)
    iterator = start(*servers).responder(vectors).answer(iter(requests), GREEDY)
    responses = [next(iterator)]
    servers[0].__exit__()
    responses += iterator
    assert {response.id: response.tokens for response in responses} == expected
    assert len(responses) == len(requests)
    assert f"The vLLM server {servers[0].url} is given up" in capfd.readouterr().err.replace("\n", " ")


def test_adapters_that_a_server_has_lost_are_loaded_again(serve, start, vectors, requests, expected):
    server = serve()
    iterator = start(server).responder(vectors).answer(iter(requests), GREEDY)
    responses = [next(iterator) for _ in range(8)]
    server.adapters.clear()
    assert {response.id: response.tokens for response in [*responses, *iterator]} == expected


def test_no_server_is_left(serve, start, vectors, requests):
    server = serve()
    server.__exit__()
    with pytest.raises(EngineFailure, match=rf"No vLLM server is left \({server.url}: .*did not answer"):
        answers(start(server).responder(vectors), requests)


def test_a_server_that_answers_nothing_usable_is_given_up(serve, start, vectors, requests):
    server = serve(script=[500] * 1000)
    with pytest.raises(EngineFailure, match=r"status 500 \(EngineCore encountered an issue"):
        answers(start(server).responder(vectors), requests)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"ignores_adapters": True}, r"ignores the adapter: with the coefficients \(0.5, 0.5\) it misses"),
        ({"max_rank": 1}, "refuses a candidate's adapter of rank 8: LoRA rank 8 is greater than max_lora_rank 1"),
        ({"takes_adapters": False}, "takes no adapters: start it with --enable-lora and.*VLLM_ALLOW_RUNTIME_LORA"),
        ({"version": "0.9.2"}, "has vLLM 0.9.2, and this engine needs 0.32 or later"),
    ],
)
def test_a_server_that_can_not_be_used_is_named(serve, start, vectors, requests, settings, sentence):
    server = serve(**settings)
    with pytest.raises(EngineFailure, match=rf"^{server.url} {sentence}"):
        answers(start(server).responder(vectors), requests)


def test_a_server_of_another_base_is_noticed(closing, fake_vllm, start, vectors, requests):
    other = replace(SETTINGS, source=TinyRandom("llama", hidden_size=32, seed=1)).load()
    server = closing.enter_context(fake_vllm.FakeVllm(fake_vllm.ModelMind(other)))
    with pytest.raises(EngineFailure, match="serves another base than tiny-llama, or adds to it"):
        answers(start(server).responder(vectors), requests)


def test_candidates_that_change_too_little_to_tell_are_let_through(serve, start, vectors, requests):
    server = serve(ignores_adapters=True)
    weak = [replace(request, coefficients=(1e-9, 0.0)) for request in requests]
    assert len(answers(start(server).responder(vectors), weak)) == len(requests)


def test_the_rank_is_rounded_up_and_limited(vectors):
    assert served_rank(vectors) == 8
    wide = replace(vectors[0], factors={"m": LowRank(torch.zeros(300, 2), torch.zeros(2, 300), 1.0)})
    assert served_rank([wide]) == 320
    with pytest.raises(EngineFailure, match="have the rank 600 together, and vLLM takes at most 512"):
        served_rank([wide, wide])


def test_requests_are_taken_as_they_are_needed(serve, start, vectors, requests):
    taken = []

    def endless():
        for k in range(10_000):
            taken.append(k)
            yield replace(requests[k % 24], id=k)

    iterator = start(serve()).responder(vectors).answer(endless(), GREEDY)
    for _ in range(30):
        next(iterator)
    iterator.close()
    assert len(taken) <= 30 + 5 * 2 * 2 + 2


def test_settings_are_refused_before_anything_is_loaded(python, tmp_path):
    def problem(policy=POLICY, composition=LINEAR, **settings):
        with pytest.raises(BadSetting) as raised:
            Vllm(**settings).check(policy, composition)
        return str(raised.value)

    assert problem().startswith("python is null, and no servers are named: choose the Python of")
    assert problem(python="p", servers=["http://h"]).startswith("python is set, and servers are named")
    assert problem(servers=["localhost:8000"]) == (
        "servers names 'localhost:8000': an address is written http://host:port."
    )
    assert "is vllm, which speaks with linear combinations alone, not with 'average'" in problem(
        MergedPolicy(), Average(), servers=["http://h"]
    )
    missing = str(tmp_path / "nothing")
    assert problem(python=missing).startswith(f"engine.python is '{missing}', which can't be run (No such file")
    assert f"engine.python is '{sys.executable}', which has no vLLM" in problem(python=sys.executable)
    assert "has vLLM 0.31.2, and this engine needs 0.32" in problem(python=python("0.31.2"))
    assert "engine.devices names 99, but" in problem(python=python(), devices=[99])
    quantised = EngineContext(None, replace(SETTINGS, quantization="nf4"), POLICY, LINEAR, tmp_path, None)
    with pytest.raises(EngineFailure, match="serves no base in nf4"):
        Vllm(servers=["http://h"]).start(quantised)


def test_own_servers_start_with_the_first_request_and_end_with_the_engine(python, start, vectors, requests):
    engine = start(python=python(), devices=["cpu", "cpu:0"])
    responder = engine.responder(vectors)
    assert list(responder.answer(iter(()), GREEDY)) == []
    assert engine._pool is None
    zero = [replace(requests[0], id=k) for k in range(40)]
    iterator = responder.answer(iter(zero), GREEDY)
    responses = [next(iterator)]
    holders = [server.process.pid for server in engine._pool._servers]
    while not all(children(holder) for holder in holders):
        time.sleep(0.05)
    victims = [child for holder in holders for child in children(holder)]
    os.kill(victims[0], signal.SIGKILL)
    responses += iterator
    assert len({response.tokens for response in responses}) == 1
    assert sorted(response.id for response in responses) == list(range(40))
    logs = [path.read_text() for path in sorted((engine.context.folder / "engine").glob("*.log"))]
    assert all("--host 127.0.0.1" in log and "--max-lora-rank 8" in log for log in logs)
    engine.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in [*holders, *victims])
    assert sorted(path.name for path in (engine.context.folder / "engine").iterdir()) == ["vllm-0.log", "vllm-1.log"]


def test_a_polluted_server_costs_no_healthy_candidate(python, start, vectors, requests):
    """Candidates of zeros and of 1e-9, and one of 1e37 after which the fake calls nothing finite."""
    engine = start(python=python(), devices=["cpu"])
    responder = engine.responder(vectors)
    healthy = [replace(requests[0], id=k, coefficients=(k % 3 * 1e-9, 0.0), seed=k) for k in range(12)]
    expected = answers(responder, healthy)
    broken = [replace(requests[1], id=100 + k, coefficients=(1e37, 1e37)) for k in range(6)]
    responses = {response.id: response for response in responder.answer(iter([*broken, *healthy]), GREEDY)}
    assert {responses[request.id].failure for request in broken} == {NOT_FINITE}
    assert {request.id: responses[request.id].tokens for request in healthy} == expected
    assert engine._folder.is_dir()  # what other servers read is left
    (log,) = (engine.context.folder / "engine").glob("*.log")
    assert log.read_text().count("fake vLLM with") == 2


def test_a_server_that_stays_polluted_is_given_up(python, start, vectors, requests):
    engine = start(python=python(), devices=["cpu"], arguments=["--polluted", "yes"])
    with pytest.raises(EngineFailure, match=r"coefficients \(0.0, 0.0\), and here they are finite, also after 3 rest"):
        answers(engine.responder(vectors), requests[:1])


@pytest.mark.parametrize("first", [0, 2])
def test_a_given_server_that_is_polluted_is_named(serve, start, vectors, requests, first):
    """Also where the first candidate that is held against this process meets the NaN."""
    server = serve(pollutable=True)
    broken = replace(requests[1], id=100, coefficients=(1e37, 1e37))
    iterator = start(server, in_flight=1).responder(vectors).answer(iter([broken, *requests[first:]]), GREEDY)
    assert next(iterator).failure == NOT_FINITE
    with pytest.raises(EngineFailure, match=rf"{server.url} has NaN in its cache: it says.* Restart it, and start the"):
        list(iterator)


def test_a_server_that_does_not_start_says_where_to_look(python, start, vectors, requests):
    engine = start(python=python(server="echo no such device; exit 3"), devices=["cpu"])
    log = engine.context.folder / "engine" / "vllm-0.log"
    with pytest.raises(EngineFailure, match=rf"ended with the status 3 \(see {log}\)"):
        answers(engine.responder(vectors), requests)
    assert "no such device" in log.read_text()


def test_servers_end_with_a_run_that_is_killed(tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    script = (
        "import subprocess, sys, time\n"
        "from mva.engines import bound_process\n"
        f"command = [sys.executable, bound_process.__file__, {str(served)!r}, 'sh', '-c', 'sleep 60 & sleep 60']\n"
        "print(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as run:
        holder = int(run.stdout.readline())
        while len(pids := [holder, *children(holder), *(g for c in children(holder) for g in children(c))]) < 4:
            time.sleep(0.02)
        run.kill()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)
    assert not served.exists()


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="shared memory has no folder here")
def test_a_server_that_is_stopped_leaves_no_shared_memory(tmp_path):
    script = (
        "import time\n"
        "from multiprocessing.shared_memory import SharedMemory\n"
        "print(SharedMemory(create=True, size=1).name, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, bound_process.__file__, str(tmp_path / "served"), sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        block = SHARED_MEMORY / holder.stdout.readline().strip()
        assert block.exists()
        holder.stdin.close()
        holder.wait(20)
    assert not block.exists()


def children(pid):
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except FileNotFoundError:
        return []


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
