"""Shared fixtures: run folders made up with realistic numbers, for any number of values."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mva.data.preference import user_prompt
from mva.evaluation.ledger import Generation, Ledger
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.pareto.front import select_front
from mva.records import write_json

# A shell that starts the tests in the background lets them ignore SIGINT, and so all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Workers (pytest -n) share the cores: one thread each, for torch and for all that the tests start. Threads that wait
# for a core spin, which costs many times what they compute. numba (of dcor) would set torch's threads to all cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

EVIL = "<script>window.broken = true</script> & <b>bold</b> {{ 7 * 7 }}"
PRESERVED = {
    "norm": 2.0, "norm_independent": 2.5, "score": 0.4, "score_independent": 0.5, "difference": -0.1,
    "low": -0.3, "high": 0.1, "n_prompts": 20,
}  # fmt: skip
NAMES = ("helpful", "harmless", "honest", "brief", "detailed")


def _interference(first, second):
    modules = {f"model.layers.{i}.self_attn.{p}_proj": 0.01 * i for i in range(3) for p in "qkvo"}
    panel = {"estimator": "Correlation", "chance": 0.004, "modules": modules}
    return {"first": first, "second": second, "panels": dict.fromkeys(["A", "B", "update", "activations"], panel)}


def build_run(folder, n_values, *, n_candidates=14, text=EVIL):
    """Write a whole run folder; scores trade the values off against each other."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(n_values)
    values = NAMES[:n_values]
    omegas = np.vstack(
        [np.zeros(n_values), np.eye(n_values), rng.uniform(0, 1, (n_candidates - n_values - 1, n_values))]
    )
    ledger = Ledger(folder)
    scored = {}
    for split, shift in (("validation", 0.0), ("test", -0.05)):
        scored[split] = []
        for omega in omegas:
            candidate = Candidate(dict(zip(values, omega.round(3).tolist(), strict=True)))
            scores = {v: float(omega[i] - 0.4 * (omega.sum() - omega[i]) + shift) for i, v in enumerate(values)}
            errors = dict.fromkeys(values, 0.08)
            scored[split].append(ScoredCandidate(candidate, scores, errors, 20, split, 1.0))
            rows = [
                Generation(
                    candidate.id, user_prompt(f"Prompt {k}: {text}"), f"Answer {omega.sum():.2f} {text}", scores, split
                )
                for k in range(3)
            ]
            ledger.add_generations(rows, key="k")
        ledger.add_scored(scored[split], key="k")
    front = select_front(scored["validation"], values=values).with_held_out(scored["test"])
    write_json(folder / "front.json", front.to_json())
    reward = {"kind": "FittedHead", "key": "k", "accuracy": 0.81, "n_pairs": 90, "low": 0.72, "high": 0.88}
    rewards = {v: reward if i else {**reward, "accuracy": 0.55} for i, v in enumerate(values)}
    pairs = [
        {
            "estimator": "HSIC",
            "view": "factor_rows",
            "first": a,
            "second": b,
            "dependence": 0.01,
            "independent_training": 0.02,
            "chance_mean": 0.011,
            "chance_sd": 0.001,
            "z": -1.0,
        }
        for i, a in enumerate(values)
        for b in values[i + 1 :]
    ]
    counts = {
        "counts": {"train": 100, "validation": 20, "test": 20},
        "problems": {"duplicate": 2},
        "longer_is_chosen": 0.52,
    }
    environment = {
        "seed": 0,
        "git_revision": None,
        "packages": {"torch": "2"},
        "python": "3.11",
        "machine": {"cpu": "x", "cores": 2},
    }
    for name, record in {
        "rewards": {"rewards": rewards},
        "dependence": {"pairs": pairs, "norms": dict.fromkeys(values, 1.5), "draws": 20},
        "interference": {"pairs": [_interference(pair["first"], pair["second"]) for pair in pairs if n_values == 2]},
        "preservation": {"values": dict.fromkeys(values[1:], PRESERVED)},
        "data": {"values": dict.fromkeys(values, counts)},
        "timings": {"stages": [{"name": "Train value vectors", "seconds": 12.5}]},
        "environment": environment,
    }.items():
        write_json(folder / f"{name}.json", {"schema_version": 1, **record})
    (folder / "config.yaml").write_text(f"note: '{text}'\n")
    lines = [{"step": s, **{f"train/{v}/preference_loss": 0.7 / s for v in values}} for s in range(1, 9)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def random_vectors(backbone, values=NAMES[:2]):
    """One vector a value over every projection of the layers; large enough to change what is said."""
    import torch  # here and below: most tests do without these seconds
    from transformers.pytorch_utils import Conv1D

    from mva.models.value_vector import LowRank, ValueVector

    vectors = []
    for seed, value in enumerate(values):
        generator = torch.Generator().manual_seed(seed)
        factors = {}
        for name, module in backbone.model.named_modules():
            if isinstance(module, torch.nn.Linear | Conv1D) and "head" not in name and "embed" not in name:
                d_in, d_out = module.weight.shape[:: 1 if isinstance(module, Conv1D) else -1]
                a = torch.randn(2, d_in, generator=generator, dtype=torch.float64)
                factors[name] = LowRank(a, torch.randn(d_out, 2, generator=generator, dtype=torch.float64), 0.3)
        vectors.append(ValueVector(value, factors, backbone.fingerprint))
    return vectors


def build_run_with_vectors(folder, *words):
    """Write a run folder of two values with the configuration of `debug=smoke` and `words`, and random vectors of its model."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from mva.apps import assemble
    from mva.apps.command import conf_folder
    from mva.models.adapter_files import save_adapter

    build_run(folder, 2)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=["debug=smoke", *words])
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    for vector in random_vectors(assemble.build(config.model).load()):
        save_adapter(vector, folder / "adapters" / vector.value)
    return folder


@contextmanager
def serving(folder, *words):
    """Run `mva-serve` on a free port of this machine; gives the process and the page's address, and kills what is left."""
    standard = ["serve.port=0", "serve.open=false", "hydra.run.dir=hydra"]
    command = [sys.executable, "-m", "mva.apps.serve", str(folder), *standard, *words]
    settings = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=settings, cwd=folder.parent) as process:
        try:
            told = next((line for line in process.stdout if "Ctrl-C ends it" in line), None)
            assert told, f"mva-serve ended with {process.wait()} before it served"
            yield process, re.search(r"http://\S+", told)[0]
        finally:
            process.kill()


@pytest.fixture(scope="session")
def app_server():
    """The process that starts apps without importing torch once more (see app_server.py)."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("app_server.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    ) as server:  # fmt: skip
        assert json.loads(server.stdout.readline()) == "ready"
        yield server
        server.stdin.close()


@pytest.fixture(scope="session")
def in_process(app_server, tmp_path_factory):
    """Run an app in a process of its own to its end."""

    def run(app, *words, cwd, **environment):
        terminal = tmp_path_factory.mktemp("terminal")
        log, errors = terminal / "log", terminal / "errors"
        request = {
            "app": app, "words": list(map(str, words)), "cwd": str(cwd), "log": str(log), "errors": str(errors),
            "env": environment, "stop": None, "largest_file": None,
        }  # fmt: skip
        app_server.stdin.write(json.dumps(request) + "\n")
        app_server.stdin.flush()
        code = json.loads(app_server.stdout.readline())["code"]
        return subprocess.CompletedProcess([app, *words], code, log.read_text("utf-8"), errors.read_text("utf-8"))

    return run


@pytest.fixture(params=[1, 2, 3, 5])
def run_folder(request, tmp_path):
    return build_run(tmp_path / "run", request.param)


@pytest.fixture(scope="session")
def make_run_folder():
    return build_run


@pytest.fixture(scope="session")
def score_by_pairs():
    """Score a made-up run's candidates by preference pairs (see pair_records.py)."""
    path = Path(__file__).with_name("pair_records.py")
    spec = importlib.util.spec_from_file_location("pair_records", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.score_by_pairs


@pytest.fixture(scope="session")
def make_run_with_vectors():
    return build_run_with_vectors


@pytest.fixture(scope="session")
def serve_run():
    return serving


@pytest.fixture(scope="session")
def vectors_of():
    return random_vectors


def responses(policy, backbone, asked, spec, *, advance=lambda _done: None):
    """What `engine=hf` says to each (coefficients, prompt), in their order; None where it has no answer."""
    from mva.data.preference import prompt_id
    from mva.data.tokenization import generation_prompt_ids
    from mva.engines.base import Request
    from mva.engines.hf import HfResponder
    from mva.engines.text import response_text

    requests = [
        Request(
            k,
            coefficients,
            tuple(generation_prompt_ids(prompt, backbone.template, limit=spec.max_prompt_tokens)),
            prompt,
            spec.seed_of(prompt_id(prompt)),
        )
        for k, (coefficients, prompt) in enumerate(asked)
    ]
    texts = [None] * len(asked)
    for response in HfResponder(policy, backbone).answer(requests, spec.decoding(backbone.template)):
        if not response.failure:
            texts[response.id] = response_text(response.tokens, backbone, spec.strip_reasoning)
        advance(1)
    return texts


@pytest.fixture(scope="session")
def fake_vllm():
    """The module of a fake vLLM server."""
    path = Path(__file__).parent / "engines" / "fake_vllm.py"
    spec = importlib.util.spec_from_file_location("fake_vllm", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def generate():
    return responses
