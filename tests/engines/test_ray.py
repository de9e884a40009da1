"""`engine=ray` on a real local cluster: workers that die, errors that cross machines, a run that is stopped.

Its contract is in tests/contracts/test_engines.py; a worker itself is tested without Ray in test_ray_worker.py.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mva.apps.errors import user_errors
from mva.composition.linear import Linear
from mva.data.preference import user_prompt
from mva.engines.base import Decoding, EngineContext, EngineFailure, Request, Scoring
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
from mva.rewards.scorer import NonFiniteReward

ray = pytest.importorskip("ray", reason='needs pip install "mva[ray]"')
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the processes from /proc")

SETTINGS = ModelSettings(TinyRandom("llama", hidden_size=32), device="cpu")
VALUES = ("kind", "brief")
CANDIDATES = [Candidate({"kind": k / 10, "brief": 1 - k / 10}) for k in range(11)]
PROMPTS = [user_prompt("word " * k) for k in range(1, 21)]
REWARDS = {"kind": Length(), "brief": Length(sign=-1)}


@pytest.fixture(scope="module")
def backbone():
    return SETTINGS.load()


@pytest.fixture(scope="module")
def vectors(backbone, vectors_of):
    return vectors_of(backbone, VALUES)


def start(spec, backbone, folder):
    return spec.start(EngineContext(backbone, SETTINGS, PerRowPolicy(), Linear(), folder, Store(folder / "cache")))


@pytest.fixture(scope="module")
def engine(backbone, tmp_path_factory):
    spec = Ray(Hf(), address="local", workers=2, cpus=1, object_store_memory=100)
    engine = start(spec, backbone, tmp_path_factory.mktemp("ray"))
    yield engine
    engine.close()


def descendants(pid):
    """List the processes below one, with their command lines."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(folder.name)] = int(parent), (folder / "cmdline").read_text()
    below = {pid}
    while more := {child for child, (parent, _) in parents.items() if parent in below} - below:
        below |= more
    return {child: parents[child][1] for child in below - {pid}}


def workers(pid):
    return [child for child, command in descendants(pid).items() if command.startswith("ray::Worker")]


def evaluator(responder, backbone, folder, *, on_response=lambda _count: None):
    @contextmanager
    def bar(_description, _total):
        answered = []

        def advance(count):
            answered.append(count)
            on_response(len(answered))

        yield advance

    return Evaluator(
        responder,
        backbone,
        REWARDS,
        prompts=PROMPTS,
        split="validation",
        generation=GenerationSpec(max_new_tokens=12, batch_size=4),
        ledger=Ledger(folder),
        vector_keys=dict.fromkeys(VALUES, "k"),
        bar=bar,
    )


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_worker_that_is_killed_loses_nothing_and_nothing_comes_twice(engine, backbone, vectors, tmp_path):
    killed = []

    def kill_worker(count):
        if count == 60:
            killed.append(workers(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    scoring = Scoring(lambda _backbone: {"kind": Length(), "brief": Length(sign=-1)}, "auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "hf").mkdir()
    asked = evaluator(engine.responder(vectors, scoring), backbone, tmp_path / "ray", on_response=kill_worker)
    scored = asked(CANDIDATES)
    assert killed
    found = lines(tmp_path / "ray" / "generations.jsonl")
    assert set(Counter((line["id"], line["prompt_id"]) for line in found).values()) == {1}
    assert len(found) == len(CANDIDATES) * len(PROMPTS)
    local = start(Hf(), backbone, tmp_path / "hf").responder(vectors)
    expected = evaluator(local, backbone, tmp_path / "hf")(CANDIDATES)
    assert [(each.candidate, each.scores) for each in scored] == [(each.candidate, each.scores) for each in expected]
    by_hf = lines(tmp_path / "hf" / "generations.jsonl")
    assert [line["response"] for line in found] == [line["response"] for line in by_hf]


def test_an_error_of_a_worker_is_raised_as_what_it_is_and_the_next_requests_are_answered(engine, backbone, vectors):
    class Broken:
        key = "broken"

        def score(self, _prompts, responses):
            import torch

            return torch.full((len(responses),), torch.nan)

    prompt = tuple(backbone.template.prompt_ids(PROMPTS[0]))
    requests = [Request(k, (0.5, 0.5), prompt, PROMPTS[0], seed=k) for k in range(10)]
    decoding = Decoding(max_new_tokens=2, stop_ids=())
    broken = engine.responder(vectors, Scoring(lambda _backbone: {"kind": Broken()}, "auto"))
    with pytest.raises(NonFiniteReward, match=r"^The reward of 'kind' is nan .* mend the reward") as error:
        list(broken.answer(requests, decoding))
    assert "in _finite" in "".join(error.value.__notes__), "the worker's traceback is kept for whoever asks for it"
    assert len(list(engine.responder(vectors).answer(requests, decoding))) == 10


def test_workers_that_die_again_and_again_end_the_run_with_one_sentence(engine, backbone, vectors):
    from mva.engines.ray_dispatch import Dispatch, Hands

    class Dying:
        def load(self):
            os._exit(1)

    engine.hands()  # so that Ray is there
    actor = ray.remote(Dying).options(num_cpus=0)
    task = type("Task", (), {"decoding": Decoding(max_new_tokens=1, stop_ids=())})
    hands = Hands(actor.remote, 2, demand="")
    with pytest.raises(EngineFailure, match=r"^All 2 workers of engine=ray died, each 4 times .* goes on\.$") as error:
        list(Dispatch(hands, task, [Request(0, (1.0, 0.0), (5,), PROMPTS[0])]).responses())
    assert "\n" not in str(error.value)
    assert isinstance(error.value, user_errors())


def test_the_handlers_of_signals_stay_ours(engine):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    engine.hands()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert before[1] is signal.default_int_handler


def test_an_address_where_nothing_is_names_what_to_do(backbone, tmp_path):
    unreachable = start(Ray(Hf(), address="127.0.0.1:1"), backbone, tmp_path)
    with pytest.raises(
        EngineFailure, match=r"^Ray can't be reached at 127.0.0.1:1 \(.*refused\): choose engine.address"
    ):
        unreachable._join_or_start()


def test_a_local_cluster_listens_on_this_machine_alone(engine):
    engine.hands()
    sockets = {str(link.readlink()) for pid in descendants(os.getpid()) for link in readable(f"/proc/{pid}/fd")}
    listening = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                listening[fields[9]] = fields[1].partition(":")[0]
    assert listening
    assert all(address.endswith("0100007F") for address in listening.values()), listening


def readable(folder):
    with suppress(OSError):
        return [path for path in Path(folder).iterdir() if path.is_symlink()]
    return []


SMOKE = (
    "debug=smoke", "tracking=local", "report.forms=[]", "evaluation.generation.temperature=0", "search=sobol",
    "search.n=256", "paths.cache=cache", "reward=length",
)  # fmt: skip
WORKERS = ("engine=ray", "engine.address=local", "engine.workers=2", "engine.cpus=1", "engine.object_store_memory=100")


@contextmanager
def mva(folder, *words):
    with (folder / "log").open("a") as log:
        command = [sys.executable, "-m", "mva.apps.run", *SMOKE, *words]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_run_that_is_stopped_leaves_no_process_and_resumes_to_the_front_of_one_process(tmp_path):
    with mva(tmp_path, "hydra.run.dir=hf") as process:
        assert process.wait(timeout=300) == 0, (tmp_path / "log").read_text()
    for stop, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)):
        ledger = tmp_path / "ray" / "generations.jsonl"
        before = ledger.stat().st_size if ledger.exists() else 0
        words = ("hydra.run.dir=ray", *WORKERS)
        with mva(tmp_path, *words) as process:
            deadline = time.monotonic() + 200
            while (not workers(process.pid)) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.2)
            while before == (ledger.stat().st_size if ledger.exists() else 0) and process.poll() is None:
                time.sleep(0.01)
            started = descendants(process.pid)
            process.send_signal(stop)
            assert process.wait(timeout=60) == status, (stop, (tmp_path / "log").read_text()[-3000:])
        deadline = time.monotonic() + 120  # after a SIGKILL Ray's own watchers end the cluster
        while (left := [pid for pid in started if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not left, (stop, [started[pid].strip("\0") for pid in left])
    with mva(tmp_path, "hydra.run.dir=ray", *WORKERS) as process:
        assert process.wait(timeout=300) == 0, (tmp_path / "log").read_text()[-3000:]
    fronts = [json.loads((tmp_path / name / "front.json").read_text()) for name in ("hf", "ray")]
    assert fronts[0] == fronts[1]
    names = [(line["id"], line["split"], line["prompt_id"]) for line in lines(tmp_path / "ray" / "generations.jsonl")]
    assert len(set(names)) == len(names)
