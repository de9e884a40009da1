"""Multiruns through Hydra's launcher plug-ins: processes of joblib, and submitit's local executor as a cluster's stand-in."""

import json
import os
import re
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir

from mva.apps.command import conf_folder

pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason='needs pip install "mva[joblib]"')
pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason='needs pip install "mva[submitit]"')


@pytest.mark.parametrize(
    ("launcher", "settings", "target"),
    [
        ("joblib", ["hydra.launcher.n_jobs=4"], "JoblibLauncher"),
        ("gpus", ["hydra.launcher.slots=2", "hydra.launcher.threads=1"], "GpuSlots"),
        ("submitit_local", [], "LocalLauncher"),
        ("submitit_slurm", ["hydra.launcher.gpus_per_node=1", "hydra.launcher.timeout_min=120"], "SlurmLauncher"),
    ],
)
def test_the_launchers_of_the_documents_compose(launcher, settings, target):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=[f"hydra/launcher={launcher}", *settings], return_hydra_config=True)
    assert config.hydra.launcher._target_.endswith(f".{target}")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "gpus", "submitit_local"])
def test_the_jobs_of_a_launcher_end_in_one_front_and_one_that_fails_stops_no_other(tmp_path, launcher):
    command = [
        *(sys.executable, "-c", "from mva.apps.door import run; run()", "-m", f"hydra/launcher={launcher}"),
        *("debug=smoke", "tracking=local", "report.forms=[]", "penalty.baseline=false", "search.levels=2"),
        *("adapter.rank=4,8,0", f"paths.cache={tmp_path / 'cache'}", "hydra.sweep.dir=F"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 1, ended.stderr
    record = json.loads((tmp_path / "F" / "sweep.json").read_text())
    states = {job["label"]: job["status"] for job in record["jobs"]}
    assert states == {"adapter.rank=4": "finished", "adapter.rank=8": "finished", "adapter.rank=0": "failed"}
    (front,) = record["fronts"]
    assert len(front["jobs"]) == 2
    assert "1 failed" in ended.stderr
    again = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert json.loads((tmp_path / "F" / "sweep.json").read_text())["jobs"][0]["seconds"] == record["jobs"][0]["seconds"]
    assert again.returncode == 1


@pytest.mark.slow
def test_a_vector_that_two_jobs_need_is_trained_by_one_of_them(tmp_path):
    command = [
        *(sys.executable, "-c", "from mva.apps.door import train; train()", "-m", "hydra/launcher=gpus"),
        *("hydra.launcher.slots=2", "debug=smoke", "tracking=local", "report.forms=[]", "penalty.baseline=false"),
        *("penalty.strength=0,10", f"paths.cache={tmp_path / 'cache'}", "hydra.sweep.dir=F"),
    ]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    trained = [line.split("━")[0].strip() for line in ended.stderr.splitlines() if line.startswith("Training, ")]
    assert sorted(trained) == ["Training, harmless", "Training, harmless", "Training, helpful"]


def test_the_settings_of_a_cluster_reach_its_queue(tmp_path):
    """A stand-in for sbatch keeps the script that it is given, and refuses it."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, does in {"sbatch": 'cp "${@: -1}" script.sh; exit 1', "srun": "exit 1"}.items():
        (bin_folder / name).write_text(f"#!/bin/bash\ncd {tmp_path}\n{does}\n")
        (bin_folder / name).chmod(0o755)
    command = [
        *(sys.executable, "-c", "from mva.apps.door import train; train()", "-m", "hydra/launcher=submitit_slurm"),
        *("hydra.launcher.gpus_per_node=1", "hydra.launcher.timeout_min=120", "hydra.launcher.cpus_per_task=8"),
        *("hydra.launcher.mem_gb=64", "hydra.launcher.signal_delay_s=120", "hydra.launcher.array_parallelism=1"),
        *("hydra.launcher.partition=gpu", "seed=0,1", "tracking=local", "hydra.sweep.dir=F"),
    ]
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (tmp_path / "script.sh").exists(), ended.stderr
    settings = re.findall("^#SBATCH --(.*)$", (tmp_path / "script.sh").read_text(), re.MULTILINE)
    assert {
        *("gpus-per-node=1", "time=120", "cpus-per-task=8", "mem=64GB", "partition=gpu", "array=0-1%1"),
        "signal=USR2@120",
    } <= set(settings)
