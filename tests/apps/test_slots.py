"""`hydra/launcher=gpus`: which job gets which device, and what a killed job, a killed multirun and Ctrl-C leave."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from mva.apps.slots import slots_of, visible_gpus

APP = """
import json, os, signal, sys, time
from pathlib import Path
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(config):
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    seen = {"process": os.getpid(), "start": time.time(), **{name: os.environ.get(name) for name in names}}
    Path(f"begun-{config.n}.json").write_text(json.dumps(seen))
    if config.n == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(config.seconds)
    Path(f"done-{config.n}.json").write_text(json.dumps({**seen, "end": time.time()}))
    return config.n

if __name__ == "__main__":
    main()
"""
LAUNCHER = "hydra.launcher._target_=hydra_plugins.mva_launchers.gpu_slots.GpuSlots"


def start(folder, *words, gpus="", seconds=0.5):
    (folder / "app.py").write_text(APP)
    command = [sys.executable, "app.py", "-m", LAUNCHER, f"+seconds={seconds}", "hydra.sweep.dir=swept", *words]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": gpus}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE)


def read(folder, pattern):
    return [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("slots", "threads", "gpus", "cores", "devices", "n_threads"),
    [
        (None, None, ["0", "1"], 16, ["0", "1"], "8"),
        (None, 3, ["GPU-a", "GPU-b"], 16, ["GPU-a", "GPU-b"], "3"),
        (4, None, ["0", "1"], 8, ["0", "1", "0", "1"], "2"),
        (1, None, ["3", "4"], 8, ["3"], "8"),
        (None, None, [], 16, [None] * 4, "4"),
        (None, None, [], 2, [None], "2"),
        (None, 1, [], 2, [None] * 2, "1"),
        (3, None, [], 2, [None] * 3, "1"),
    ],
)
def test_devices_and_cores_are_shared_out(slots, threads, gpus, cores, devices, n_threads):
    shared = slots_of(slots, threads, gpus=gpus, cores=cores)
    assert [slot.get("CUDA_VISIBLE_DEVICES") for slot in shared] == devices
    assert {slot["OMP_NUM_THREADS"] for slot in shared} == {n_threads}


@pytest.mark.parametrize(
    ("stated", "gpus"), [("0,3", ["0", "3"]), ("GPU-1f, MIG-2", ["GPU-1f", "MIG-2"]), ("", []), ("-1", [])]
)
def test_the_devices_are_those_that_the_shell_leaves(monkeypatch, stated, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", stated)
    assert visible_gpus() == gpus


def test_every_job_is_a_process_of_its_own_on_a_free_device(tmp_path):
    ended = start(tmp_path, "+n=1,2,3,4", "+hydra.launcher.threads=1", gpus="5,7")
    _, printed = ended.communicate(timeout=120)
    assert ended.returncode == 0, printed
    jobs = read(tmp_path, "done-*.json")
    assert len({job["process"] for job in jobs}) == 4
    assert {job["OMP_NUM_THREADS"] for job in jobs} == {"1"}
    for device in ("5", "7"):
        on_device = sorted((job["start"], job["end"]) for job in jobs if job["CUDA_VISIBLE_DEVICES"] == device)
        assert on_device
        assert all(end <= start for (_, end), (start, _) in pairwise(on_device))


def test_a_killed_job_takes_no_other_with_it(tmp_path):
    ended = start(tmp_path, "+n=99,1,2,3", "+hydra.launcher.slots=2")
    _, printed = ended.communicate(timeout=120)
    assert len(read(tmp_path, "done-*.json")) == 3
    assert ended.returncode != 0
    assert "was killed by SIGKILL: start the command again with hydra.sweep.dir=swept to go on." in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_job_outlives_the_multirun(tmp_path, number):
    multirun = start(tmp_path, "+n=1,2,3", "+hydra.launcher.slots=2", seconds=100)
    until(lambda: len(list(tmp_path.glob("begun-*.json"))) == 2)
    jobs = [job["process"] for job in read(tmp_path, "begun-*.json")]
    multirun.send_signal(number)
    multirun.communicate(timeout=60)
    until(lambda: not any(map(is_running, jobs)))
    assert multirun.returncode != 0
    assert not list(tmp_path.glob("done-*.json"))
    assert len(list(tmp_path.glob("begun-*.json"))) == 2
