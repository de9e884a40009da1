"""Every architecture goes the whole way; and small models trained from scratch are models like any other."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.diagnostics import Diagnostics
from mva.evaluation.ledger import Ledger
from mva.experiment import Session
from mva.models.backbone import load_backbone
from mva.models.sources.pretrained import Pretrained
from mva.pareto.indicators import Yardstick
from mva.pipeline import find_front, make_rewards, train_independently, train_vectors
from mva.stages import Stages

SCRIPTS = Path(__file__).parents[2] / "experiments"
MODEL_TYPES = {
    "tiny_gemma": "gemma2", "tiny_gpt2": "gpt2", "tiny_gpt_neox": "gpt_neox", "tiny_llama": "llama",
    "tiny_mistral": "mistral", "tiny_opt": "opt", "tiny_qwen": "qwen2",
}  # fmt: skip


def open_session(folder, *overrides):
    words = ["debug=smoke", f"paths.cache={folder / 'cache'}", "trainer.recipe.steps=8", *overrides]
    few = [
        "trainer.execution.validation_pairs=2",
        "evaluation.n_validation_prompts=3",
        "evaluation.n_test_prompts=3",
        "reward=length",
        "search=coarse",
    ]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        experiment = assemble.experiment(compose("config", [*words, *few]))
    data, _ = experiment.data.load(experiment.values)
    return Session(experiment, experiment.model.load(), data, Stages(folder))


@pytest.mark.parametrize("option", sorted(path.stem for path in (conf_folder() / "model").glob("tiny_*.yaml")))
def test_vectors_penalty_combinations_and_front_on_every_tiny_model(option, tmp_path):
    session = open_session(tmp_path, f"model={option}", "estimator=correlation")
    assert session.backbone.model.config.model_type == MODEL_TYPES[option]
    vectors = train_vectors(session, log=lambda _metrics, _step: None)
    dependence = Diagnostics(session, vectors, train_independently(session, vectors)).dependence()["pairs"][0]
    assert dependence["estimator"] == "Correlation"
    assert 0 <= dependence["dependence"] < 0.5 * dependence["independent_training"]
    assert all(vector.norm() > 0 for vector in vectors)
    front = find_front(session, vectors, make_rewards(session, vectors), Ledger(tmp_path))
    assert front.n_candidates == 9
    assert front.hypervolume >= front.hypervolume_simplex
    assert all(set(point.scores_held_out) == {"helpful", "harmless"} for point in front.points)


@pytest.fixture
def pretraining(monkeypatch):
    yield from script("pretraining", monkeypatch)


@pytest.fixture
def architectures(monkeypatch):
    yield from script("architectures", monkeypatch)


def script(name, monkeypatch):
    """Import as `python experiments/<name>.py` does: its neighbours are importable."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module(name)
    for added in set(sys.modules) - before:
        if str(getattr(sys.modules[added], "__file__", None)).startswith(str(SCRIPTS)):
            del sys.modules[added]


@pytest.fixture
def corpus(tmp_path, monkeypatch, pretraining):
    """Files as the experiment expects them, with a marked word in every prompt."""
    home = tmp_path / "data"
    for corpus in pretraining.CORPORA:
        for split in ("train", "test"):
            path = home / f"{corpus}_{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [
                {
                    "prompt": f"Ask {corpus} {split} {i}",
                    "chosen": f"Answer {i} " + "with many words " * 12,
                    "rejected": "No.",
                }
                for i in range(80)
            ]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("MVA_SHARED_DATA", str(home))
    return home


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_a_pretrained_model_loads_speaks_and_is_not_trained_again(pretraining, corpus, tmp_path, architecture):
    folder = tmp_path / "model"
    pretraining.pretrain(architecture, folder, minutes=0.01, data=corpus)
    record = json.loads((folder / "pretraining.json").read_text())
    assert record["steps"] >= 1
    assert 3e6 < record["parameters"] < 1e7
    backbone = load_backbone(Pretrained(str(folder)), device="cpu")
    assert backbone.model.config.model_type == architecture
    text = "héllo 🙂\n  x"
    assert backbone.tokenizer.decode(backbone.template.response_ids(text)) == f"{text}<|im_end|>"
    assert backbone.template.stop_ids == [backbone.tokenizer.eos_token_id]
    before = (folder / "model.safetensors").stat().st_mtime_ns
    pretraining.pretrain(architecture, folder, minutes=0.01, data=corpus)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_pretraining_never_reads_what_the_runs_are_scored_on(pretraining, corpus):
    held_out = {pair.prompt for value in pretraining.experiment_data().values() for pair in value.validation}
    files = [corpus / f"{name}_train.jsonl" for name in pretraining.CORPORA]
    read = {prompt for prompt, _ in pretraining.documents(files, without=held_out)}
    assert held_out
    assert not read & held_out
    assert len(read) == 80 * len(files) - len(held_out)


def test_rows_are_the_dialogues_one_behind_the_other(pretraining):
    class Letters:
        def prompt_ids(self, prompt):
            return [1] * prompt

        def response_ids(self, response):
            return [2] * response

    rows = pretraining.token_rows([(100, 100), (60, 300)], Letters())
    assert torch.cat([row["labels"] for row in rows]).tolist() == [1] * 100 + [2] * 100 + [1] * 60 + [2] * 252


@pytest.mark.parametrize(("spent", "factor"), [(0, 0), (0.025, 0.5), (0.5, 0.5), (1, 0), (2, 0)])
def test_the_rate_follows_the_budget_that_is_spent(pretraining, spent, factor):
    assert pretraining.rate_factor(spent) == pytest.approx(factor, abs=1e-9)


def test_the_box_is_held_against_the_simplex_inside_of_it(architectures):
    corners = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    rewards = [np.repeat(corners[:, None], 12, axis=1)]
    found = architectures.box_and_simplex(rewards, [[True, True, False]], Yardstick.of([corners]))
    assert found["box"]["estimate"] == pytest.approx(1.1 * 1.1)
    assert found["simplex"]["estimate"] == pytest.approx(2 * 1.1 * 0.1 - 0.1 * 0.1)
    assert found["difference"]["estimate"] == pytest.approx(1.0)
    assert found["difference"]["verdict"] == "real"
