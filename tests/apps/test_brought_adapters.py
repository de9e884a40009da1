"""Adapters that PEFT saved elsewhere: explored, exported, reported, judged and served like trained vectors."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
import uvicorn
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from peft import LoraConfig, PeftModel, get_peft_model
from starlette.testclient import TestClient

from mva.apps import brought, explore, export, judge, report, serve
from mva.apps.command import conf_folder
from mva.apps.help import READERS
from mva.apps.run_folder import identity, open_run_folder
from mva.models.sources.tiny_random import TinyRandom
from mva.runs.data_record import FolderInUse

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SMALL = [
    "debug=smoke", "model=tiny_qwen", "tracking=local", "search=coarse", "reward=length", "report.forms=[]",
    "evaluation.n_validation_prompts=3", "evaluation.n_test_prompts=3",
]  # fmt: skip
SETTINGS = {
    "honest": {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "gate_proj"], "rank_pattern": {"gate_proj": 5}},
    "helpful": {"r": 4, "lora_alpha": 2, "target_modules": r".*self_attn\.(q|o)_proj", "use_rslora": True},
}
IDS = torch.arange(5, 45).view(2, 20)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tiny():
    return TinyRandom("qwen").load(torch.float32).model


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Two folders that PEFT wrote, with numbers as after training."""
    home = tmp_path_factory.mktemp("elsewhere")
    for value, settings in SETTINGS.items():
        model = get_peft_model(tiny(), LoraConfig(task_type="CAUSAL_LM", **settings))
        generator = torch.Generator().manual_seed(len(value))
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = 0.15 * torch.randn(parameter.shape, generator=generator)
        model.save_pretrained(home / value)
    return home


@pytest.fixture(scope="module")
def folder(start, adapters, tmp_path_factory):
    """The run that explored them, the first of them named relative to where the command is typed."""
    home = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(adapters)
        words = ["adapters.honest=honest", f"adapters.helpful={adapters / 'helpful'}", f"hydra.run.dir={home / 'run'}"]
        assert start(explore, *SMALL, *words) == 0
    return home / "run"


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@torch.no_grad()
def test_a_scored_candidate_is_exported_as_the_one_adapter_that_peft_makes_of_both(start, folder, adapters, tmp_path):
    line = next(line for line in lines_of(folder / "candidates.jsonl") if all(line["coefficients"].values()))
    words = [f"run={folder}", f"candidate={line['id']}", f"export.to={tmp_path / 'one'}", "model=tiny_qwen"]
    assert start(export, *words) == 0
    both = PeftModel.from_pretrained(tiny(), adapters / "honest", adapter_name="honest")
    both.load_adapter(adapters / "helpful", adapter_name="helpful")
    for module in both.modules():
        for value in set(getattr(module, "lora_A", {})):
            module.set_scale(value, line["coefficients"][value])
    both.base_model.set_adapter(["honest", "helpful"])
    exported = PeftModel.from_pretrained(tiny(), tmp_path / "one")
    torch.testing.assert_close(exported(IDS).logits, both(IDS).logits, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(exported(IDS).logits, tiny()(IDS).logits, atol=1e-3)


def test_the_runs_values_are_those_of_the_adapters_in_their_order(folder):
    front = json.loads((folder / "front.json").read_text())
    assert front["values"] == ["honest", "helpful"]
    assert {path.name for path in (folder / "adapters").iterdir()} == {"honest", "helpful"}
    stored = json.loads((folder / "adapters" / "helpful" / "mva_vector.json").read_text())
    assert len(stored["key"]) == 40
    assert stored["metadata"]["origin"]["folder"].endswith("/helpful")


def test_new_contents_in_the_same_place_are_another_evaluation(start, folder, adapters, tmp_path):
    before = {line["key"] for line in lines_of(folder / "candidates.jsonl") if line["split"] == "validation"}
    (changed := tmp_path / "helpful").mkdir()
    for path in (adapters / "helpful").iterdir():
        text = path.read_bytes()
        (changed / path.name).write_bytes(text.replace(b'"lora_alpha": 2', b'"lora_alpha": 6'))
    words = [f"adapters.honest={adapters / 'honest'}", f"adapters.helpful={changed}", f"hydra.run.dir={tmp_path / 'r'}"]
    assert start(explore, *SMALL, *words) == 0
    after = {line["key"] for line in lines_of(tmp_path / "r" / "candidates.jsonl") if line["split"] == "validation"}
    assert len(before) == len(after) == 1
    assert before != after


def test_the_run_is_reported_and_judged(start, folder, capsys):
    assert start(report, f"run={folder}", "report.forms=[]") == 0
    assert "Pareto front" in capsys.readouterr().out
    assert start(judge, f"run={folder}") == 0
    assert json.loads((folder / "judgement.json").read_text())["results"]


def test_the_run_is_served(start, folder, monkeypatch):
    answers = []

    def ask(server, **_):
        client = TestClient(server.config.app, base_url="http://localhost")
        question = {"prompt": "Hello?", "coefficients": {"honest": 1, "helpful": 0.5}}
        answers.extend([client.get("/"), client.post("/api/answer", json=question)])

    monkeypatch.setattr(uvicorn.Server, "run", ask)
    assert start(serve, f"run={folder}", "model=tiny_qwen", "serve.port=0", "serve.open=false") == 0
    assert [answer.status_code for answer in answers] == [200, 200]
    assert '"honest"' in answers[0].text


def test_one_candidate_alone_is_scored_with_coefficients(start, adapters, tmp_path):
    words = [f"adapters.{value}={adapters / value}" for value in SETTINGS]
    chosen = ["coefficients.honest=1.4", "coefficients.helpful=-0.5", f"hydra.run.dir={tmp_path / 'r'}"]
    assert start(explore, *SMALL, *words, *chosen) == 0
    scored = {
        json.dumps(line["coefficients"], sort_keys=True) for line in lines_of(tmp_path / "r" / "candidates.jsonl")
    }
    assert scored == {'{"helpful": -0.5, "honest": 1.4}'}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["adapters.helpful={0}/helpful", "run={0}"], "not both"),
        (["adapters.helpful={0}/helpful", "adapters.kind={0}/honest"], "for kind, but the data has pairs of helpful,"),
        (["adapters.helpful={0}/helpful", "value=helpful_harmless"], "value.names is ['helpful', 'harmless'], but"),
        (["adapters.helpful={0}/helpful", "value.names=[honest]"], "value.names is ['honest'], but adapters"),
        (["adapters.helpful={0}/elsewhere"], "There is no folder"),
        (["adapters.helpful=null"], "adapters.helpful is null"),
        (["adapters.helpful={0}/helpful", "adapters.honest={0}/honest", "method=modpo"], "plan=independent"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_model_is_loaded(
    start, adapters, tmp_path, monkeypatch, capsys, words, sentence
):
    monkeypatch.setattr(brought, "fit_to", None)
    monkeypatch.setattr(TinyRandom, "load", None)
    filled = [word.format(adapters) for word in words]
    assert start(explore, *SMALL, *filled, f"hydra.run.dir={tmp_path / 'r'}") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert sentence in said
    assert "Traceback" not in said


def test_values_that_are_stated_and_agree_give_the_order(start, adapters, tmp_path):
    words = [f"adapters.{value}={adapters / value}" for value in SETTINGS]
    assert start(explore, *SMALL, *words, "value.names=[helpful,honest]", f"hydra.run.dir={tmp_path / 'r'}") == 0
    assert json.loads((tmp_path / "r" / "front.json").read_text())["values"] == ["helpful", "honest"]


def test_a_run_folder_from_before_there_was_the_key_is_the_same_run(folder, tmp_path):
    config = OmegaConf.load(folder / "config.yaml")
    assert "helpful" in config.adapters
    other = OmegaConf.merge(config)
    del other["adapters"]
    (tmp_path / "old").mkdir()
    OmegaConf.save(other, tmp_path / "old" / "config.yaml")
    with pytest.raises(FolderInUse):
        open_run_folder(tmp_path / "old", config)
    config.adapters = {}
    assert identity(other) == identity(config)
    assert open_run_folder(tmp_path / "old", config) == tmp_path / "old"


DOCUMENT = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()
COMMANDS = [line.split("  ")[0] for line in re.findall(r"^    (mva-.*)$", DOCUMENT, re.MULTILINE)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_quoted_command_composes_and_is_of_its_app(command):
    app, *words = shlex.split(command)
    for key in (word.partition("=")[0].partition(".")[0] for word in words):
        assert app.removeprefix("mva-") in READERS.get(key, (app.removeprefix("mva-"),))
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        compose("config", overrides=words)
