"""One vector on several devices: two real processes, by torchrun, give what one gives, and survive a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mva.checks import BadSetting
from mva.objectives.dpo import DPO
from mva.objectives.kto_pair import KTOPair
from mva.training import ranks
from mva.training.spec import ExecutionOptions, Recipe

SMALL = (
    *("debug=smoke", "tracking=local", "report.forms=[]", "penalty.strength=1", "penalty.baseline=false"),
    *("trainer.recipe.batch_size=4", "data.max_train_pairs=40", "trainer.execution.validation_pairs=4"),
)
UNLIKE = "trainer.execution.tokens=550"  # the processes cut their shares into unlike numbers of micro-batches
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m")


def started(folder, *words, several=True, app="train"):
    program = (*TORCHRUN, f"mva.apps.{app}") if several else (sys.executable, "-m", f"mva.apps.{app}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    command = [*program, *SMALL, f"paths.cache={folder / 'cache'}", f"hydra.run.dir={folder / 'run'}", *words]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "terminal.txt").open("a") as terminal:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=terminal, stderr=terminal)


def trained(folder, *words, several=True):
    process = started(folder, *words, several=several)
    assert process.wait(timeout=600) == 0, (folder / "terminal.txt").read_text()
    return vectors(folder)


def vectors(folder):
    return {
        path.name: (load_file(path / "adapter_model.safetensors"), json.loads((path / "history.json").read_text()))
        for path in (folder / "cache" / "vectors").iterdir()
    }


def assert_equal(one, two):
    assert one.keys() == two.keys()
    for key, (factors, history) in one.items():
        others, other_history = two[key]
        for name, factor in factors.items():
            torch.testing.assert_close(others[name], factor, rtol=0, atol=1e-5)
        assert [step for step, _ in history] == [step for step, _ in other_history]
        for (_, metrics), (_, other_metrics) in zip(history, other_history, strict=True):
            for name, metric in metrics.items():
                # At the first step all margins are 0 but for rounding, and so their signs are chance.
                assert name.endswith("/accuracy") or other_metrics[name] == pytest.approx(metric, abs=1e-4)


def rank_of(number, parent):
    """Find the process of a rank among the children of torchrun."""
    for process in Path("/proc").iterdir():
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            if f"RANK={number}".encode() in environment and f"PPid:\t{parent}" in (process / "status").read_text():
                return int(process.name)
        except OSError:  # not ours, or gone
            continue
    raise AssertionError(f"there is no rank {number}")


def until(condition):
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("trainer.recipe.accumulate=2", "trainer.recipe.steps=6", "adapter.dropout=0.2", UNLIKE),
        ("plan=joint", "trainer.recipe.steps=4", "adapter.dropout=0.2", UNLIKE),
    ],
    ids=["accumulated", "joint"],
)
def test_two_processes_give_the_vectors_of_one(tmp_path, words):
    one = trained(tmp_path / "one", *words, several=False)
    two = trained(tmp_path / "two", *words)
    assert_equal(one, two)
    assert not list((tmp_path / "two" / "cache").glob("unfinished/*"))


@pytest.mark.slow
def test_a_learned_critic_is_the_same_in_both_processes(tmp_path):
    """It amplifies rounding, that of an earlier vector included: so both trainings begin with the same one."""
    words = ("estimator=club", "penalty=update_rows", "trainer.recipe.steps=4")
    one = trained(tmp_path / "one", *words, several=False)
    shutil.copytree(tmp_path / "one" / "cache", tmp_path / "two" / "cache")
    for key, (_, history) in one.items():
        if any(name.endswith("/penalty") for name in history[0][1]):
            shutil.rmtree(tmp_path / "two" / "cache" / "vectors" / key)
    assert len(vectors(tmp_path / "two")) == 1
    assert_equal(one, trained(tmp_path / "two", *words))


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_training_with_a_sentence_and_it_resumes(tmp_path, killed):
    words = ("trainer.recipe.steps=60", "trainer.execution.checkpoint_every=2")
    folder = tmp_path / "two"
    process = started(folder, *words)
    until(lambda: list((folder / "cache").glob("unfinished/*/last.ckpt")))
    os.kill(rank_of(killed, process.pid), signal.SIGKILL)
    assert process.wait(timeout=120) != 0
    printed = (folder / "terminal.txt").read_text()
    assert "Another process of this training is gone" in printed or "Stopped. Nothing is lost" in printed
    assert list((folder / "cache").glob("unfinished/*/last.ckpt"))
    assert_equal(trained(tmp_path / "one", *words, several=False), trained(folder, *words))


def test_commands_that_several_processes_cannot_run_are_refused_in_a_sentence(tmp_path):
    for name, words, app in (
        ("sweep", ("-m", "seed=0,1"), "train"),
        ("explore", (), "explore"),
    ):
        process = started(tmp_path / name, *words, app=app)
        assert process.wait(timeout=120) != 0
        printed = (tmp_path / name / "terminal.txt").read_text()
        assert "NotAlone: Several processes" in printed


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setattr(ranks, "size", lambda: 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": Recipe(batch_size=3)}, "batch_size is 3, which 2 processes can't share evenly"),
        ({"objective": KTOPair()}, r"objective is KTOPair, in which a pair's loss depends on all pairs of its batch"),
        ({"execution": ExecutionOptions(strategy="ddp")}, "strategy is ddp: with several processes choose auto"),
    ],
)
def test_what_several_processes_would_train_otherwise_is_refused(two, settings, message):
    plain = {"recipe": Recipe(batch_size=4), "objective": DPO(), "execution": ExecutionOptions()}
    ranks.check_ranks(**plain)
    with pytest.raises(BadSetting, match=message):
        ranks.check_ranks(**{**plain, **settings})


@pytest.mark.parametrize("strategy", ["fsdp", "fsdp_cpu_offload", "deepspeed_stage_3"])
def test_strategies_that_lose_parts_of_an_adapter_are_refused(strategy):
    with pytest.raises(BadSetting, match="loses parts of an adapter"):
        ExecutionOptions(strategy=strategy)


def test_several_devices_of_one_process_are_refused_with_the_command_that_uses_them():
    with pytest.raises(BadSetting, match=r"torchrun --nproc-per-node 2 -m mva\.apps\.train"):
        ExecutionOptions(devices=2)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, None),  # a batch script, before srun
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None),
        (
            {
                **{"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "71234"},
                **{"SLURM_NODELIST": "node[07-08]", "SLURM_NTASKS": "4"},
            },
            ranks.Launched(3, 4, 1, "node07", 16234),
        ),
        (
            {
                **{"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"},
                **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
            },
            ranks.Launched(1, 2, 1, "127.0.0.1", 29500),
        ),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "1"}, None),
    ],
)
def test_the_processes_are_those_that_torchrun_or_srun_started(monkeypatch, environment, expected):
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_")) or name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.delenv(name)
    for name, setting in environment.items():
        monkeypatch.setenv(name, setting)
    assert ranks.launched() == expected
