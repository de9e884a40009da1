"""Small models trained from scratch are models like any other; what is compared are runs of the same seeds."""

import json

import pytest
import torch

from mva.data.preference import user_prompt
from mva.data.template import ConversationIds
from mva.models.backbone import load_backbone
from mva.models.sources.pretrained import Pretrained
from mva.runs.sweep_folder import Outcome


@pytest.fixture
def pretraining(script):
    return script("pretraining")


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
    assert backbone.tokenizer.decode(backbone.template.conversation_ids(user_prompt("?"), text).ids).endswith(
        f"{text}<|im_end|>"
    )
    assert backbone.template.stop_ids == [backbone.tokenizer.eos_token_id]
    before = (folder / "model.safetensors").stat().st_mtime_ns
    pretraining.pretrain(architecture, folder, minutes=0.01, data=corpus)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_pretraining_never_reads_what_the_runs_are_scored_on(pretraining, corpus):
    held_out = {pair.prompt for pairs in pretraining.validation_pairs(pretraining.configured()) for pair in pairs}
    files = [corpus / f"{name}_train.jsonl" for name in pretraining.CORPORA]
    read = {prompt for prompt, _ in pretraining.documents(files, without=held_out)}
    assert held_out
    assert not read & held_out
    assert len(read) == 80 * len(files) - len(held_out)


def test_rows_are_the_dialogues_one_behind_the_other(pretraining):
    class Letters:
        def conversation_ids(self, prompt, response):
            return ConversationIds([1] * prompt + [2] * response, prompt, spans=False)

    rows = pretraining.token_rows([(100, 100), (60, 300)], Letters())
    assert torch.cat([row["labels"] for row in rows]).tolist() == [1] * 100 + [2] * 100 + [1] * 60 + [2] * 252


@pytest.mark.parametrize(("spent", "factor"), [(0, 0), (0.025, 0.5), (0.5, 0.5), (1, 0), (2, 0)])
def test_the_rate_follows_the_budget_that_is_spent(pretraining, spent, factor):
    assert pretraining.rate_factor(spent) == pytest.approx(factor, abs=1e-9)


@pytest.fixture
def model(script, tmp_path, write_scored_run):
    """A model with two seeds without a penalty, and one with it."""
    model = script("architectures").Model(tmp_path, "gpt2")
    scores = {(0, 0): (0, 0), (1, 0): (1, 0), (0, 1): (0, 1)}
    for arm, seed in (("unpenalised", 0), ("unpenalised", 1), ("correlation", 1)):
        folder = model.folder / arm / f"seed{seed}"
        write_scored_run(folder, ("helpful", "harmless"), scores, seed=seed, dependence=0.5)
        Outcome("mva", seed, [f"seed={seed}"], state="finished").write(folder)
    return model


def test_runs_are_read_by_arm_and_seed(model):
    assert {arm: list(runs) for arm, runs in model.runs().items()} == {"unpenalised": [0, 1], "correlation": [1]}


def test_vectors_tell_dependence_and_what_the_penalty_did_to_the_second_one(script, model):
    found = script("architectures").vectors(list(model.runs()["unpenalised"].values()))
    assert found == {
        "squared cosine": [0.5, 0.5], "chance": [0.0, 0.0], "norm kept": [0.75, 0.75], "own score": [-0.5, -0.5]
    }  # fmt: skip


def test_a_penalty_is_held_against_none_on_the_seeds_that_both_have(script, model, monkeypatch):
    module = script("architectures")
    monkeypatch.setattr(module, "whole_table", lambda without, penalised: (without, penalised))
    runs = model.runs()
    found = module.designs(runs)
    assert found.keys() == {"correlation"}
    assert found["correlation"]["seeds"] == [1]
    assert found["correlation"]["found"] == ([runs["unpenalised"][1]], [runs["correlation"][1]])
