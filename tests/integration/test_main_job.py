"""The main job as a user starts it: in a process of its own, from any folder."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import TinyRandom

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
BIN = Path(sys.executable).parent
SMOKE = ["debug=smoke", "paths.cache=cache"]


def run(folder, app, *arguments, **environment):
    command = [str(BIN / app), *arguments]
    settings = {**os.environ, "WANDB_MODE": "offline", "COLUMNS": "160", **environment}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    start, before = time.monotonic(), cpu_seconds()
    done = run(folder, "mva", *SMOKE, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr[-3000:]
    # Of one core where others load the machine, of the clock where the run has several threads.
    return folder, done, min(time.monotonic() - start, cpu_seconds() - before)


def cpu_seconds():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_smoke_run_takes_less_than_a_minute(smoke):
    assert smoke[2] < 60


def test_the_run_folder_holds_everything_that_is_promised(smoke):
    run_folder = smoke[0] / "run"
    records = "config.yaml environment.json data.json dependence.json rewards.json front.json summary.json timings.json"
    ledgers = "candidates.jsonl generations.jsonl metrics.jsonl front.csv report.html"
    figures = "figures/front.png figures/front.svg figures/front.pdf figures/training.png"
    adapters = "adapters/helpful/adapter_model.safetensors adapters/harmless/adapter_config.json"
    names = f"{records} {ledgers} {figures} {adapters}".split()
    assert [name for name in names if not (run_folder / name).is_file()] == []
    assert list((run_folder / "wandb").glob("offline-run-*"))


def test_every_file_of_a_run_folder_is_in_its_documentation(smoke):
    text = (Path(__file__).parents[2] / "docs" / "run_folder.md").read_text(encoding="utf-8")
    names = sorted(path.name for path in (smoke[0] / "run").iterdir())
    assert [name for name in names if name not in text] == []


def test_the_records_agree_with_each_other(smoke):
    run_folder = smoke[0] / "run"
    front = json.loads((run_folder / "front.json").read_text())
    ledger = records(run_folder / "candidates.jsonl")
    validation = {line["id"]: line for line in ledger if line["split"] == "validation"}
    held_out = {line["id"]: line for line in ledger if line["split"] == "test"}
    assert front["n_candidates"] == len(validation) == 25
    for point in front["points"]:
        assert point["scores"] == validation[point["id"]]["scores"]
        assert point["scores_held_out"] == held_out[point["id"]]["scores"]
    generations = records(run_folder / "generations.jsonl")
    assert len([g for g in generations if g["split"] == "validation"]) == 25 * 6
    line = validation[front["points"][0]["id"]]
    rewards = [g["rewards"]["helpful"] for g in generations if g["id"] == line["id"] and g["split"] == "validation"]
    assert line["scores"]["helpful"] == pytest.approx(sum(rewards) / len(rewards))


def test_the_closing_summary_says_what_was_found_and_what_to_do_next(smoke):
    said = smoke[1].stderr + smoke[1].stdout
    for words in ("Pareto front", "Hypervolume", "held-out", "report.html", "mva-export run="):
        assert words in said


def test_the_same_command_again_does_nothing_twice(smoke):
    folder = smoke[0]
    before = (folder / "run" / "candidates.jsonl").read_text(), (folder / "run" / "generations.jsonl").read_text()
    front = (folder / "run" / "front.json").read_text()
    again = run(folder, "mva", *SMOKE, "hydra.run.dir=run")
    assert again.returncode == 0, again.stderr[-3000:]
    assert "Training," not in again.stderr
    assert (
        (folder / "run" / "candidates.jsonl").read_text(),
        (folder / "run" / "generations.jsonl").read_text(),
    ) == before
    assert (folder / "run" / "front.json").read_text() == front


def test_a_folder_of_another_configuration_is_refused(smoke):
    other = run(smoke[0], "mva", *SMOKE, "hydra.run.dir=run", "seed=1")
    assert other.returncode == 2
    assert "holds a run of another configuration" in other.stderr
    assert "Traceback" not in other.stderr


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_an_exported_candidate_speaks_the_same_with_plain_peft_and_transformers(smoke, form, tmp_path):
    folder = smoke[0]
    candidate = records(folder / "run" / "candidates.jsonl")[-1]
    words = [f"candidate={candidate['id']}", f"export.form={form}", f"export.to={tmp_path / form}", "model=tiny_llama"]
    done = run(folder, "mva-export", "run=run", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    backbone = load_backbone(TinyRandom("llama"))
    ids = torch.arange(3, 40)[None]
    expected = composed_logits(backbone, folder / "run", candidate["coefficients"], ids)
    base = load_backbone(TinyRandom("llama")).model
    model = (
        PeftModel.from_pretrained(base, tmp_path / form)
        if form == "adapter"
        else AutoModelForCausalLM.from_pretrained(tmp_path / form)
    )
    torch.testing.assert_close(model(ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(load_backbone(TinyRandom("llama")).model(ids).logits, expected, atol=1e-4)


def composed_logits(backbone, run_folder, coefficients, ids):
    """Logits with every vector added by hand to the dense weights, read straight from the files."""
    weights = dict(backbone.model.named_parameters())
    for value, omega in coefficients.items():
        adapter = PeftModel.from_pretrained(load_backbone(TinyRandom("llama")).model, run_folder / "adapters" / value)
        for name, module in adapter.get_base_model().named_modules():
            if hasattr(module, "get_delta_weight"):
                weights[f"{name}.weight"].data += omega * module.get_delta_weight("default")
    return backbone.model(ids).logits.detach()


def test_explore_goes_on_with_the_vectors_of_a_run(smoke):
    words = ["hydra.run.dir=explored", "run=run", "search=listed", "search.candidates=[{helpful: 1.5, harmless: 0.5}]"]
    done = run(smoke[0], "mva-explore", *SMOKE, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    scored = records(smoke[0] / "explored" / "candidates.jsonl")
    assert {"helpful": 1.5, "harmless": 0.5} in [line["coefficients"] for line in scored]


@pytest.mark.parametrize(("stop", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_tells_its_scheduler_and_keeps_its_checkpoint(tmp_path, stop, status):
    words = [*SMOKE, "hydra.run.dir=run", "trainer.recipe.steps=2000", "trainer.execution.checkpoint_every=5"]
    settings = {**os.environ, "WANDB_MODE": "offline"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([str(BIN / "mva"), *words], cwd=tmp_path, stderr=log, stdout=log, env=settings)
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("cache/unfinished/*/last.ckpt")) and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(stop)
        assert process.wait(timeout=60) == status, (tmp_path / "log").read_text()[-2000:]
    assert list(tmp_path.glob("cache/unfinished/*/last.ckpt"))


@pytest.mark.parametrize("experiment", ["paper_hh", "paper_beavertails"])
def test_the_papers_setups_run_end_to_end_on_a_tiny_model(experiment, tmp_path):
    small = [
        "model=tiny_llama",
        "data=bundled",
        "trainer.recipe.steps=2",
        "search=coarse",
        "hydra.run.dir=run",
        "paths.cache=cache",
    ]
    fewer = [
        "evaluation.n_validation_prompts=4",
        "evaluation.n_test_prompts=4",
        "evaluation.generation.max_new_tokens=8",
    ]
    done = run(tmp_path, "mva", f"experiment={experiment}", "reward=length", "rewards=null", *small, *fewer)
    assert done.returncode == 0, done.stderr[-3000:]
    adapter = json.loads((tmp_path / "run" / "adapters" / "helpful" / "adapter_config.json").read_text())
    assert (adapter["r"], adapter["lora_alpha"]) == (64, 128)


@pytest.mark.slow
def test_main_job_on_the_real_model(tmp_path):
    words = [
        "trainer.recipe.steps=4",
        "search.levels=1",
        "evaluation.n_validation_prompts=4",
        "evaluation.n_test_prompts=4",
    ]
    done = run(tmp_path, "mva", *words, "data.max_train_pairs=60", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr[-3000:]
    rewards = json.loads((tmp_path / "run" / "rewards.json").read_text())["rewards"]
    assert all(reward["accuracy"] > 0.6 for reward in rewards.values())
    responses = [line["response"] for line in records(tmp_path / "run" / "generations.jsonl")]
    assert len(set(responses)) > 8
