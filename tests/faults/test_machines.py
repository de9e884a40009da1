"""What machines do to runs: disks that fill up, schedulers that take the machine away."""

import os
import signal

import pytest

RUN = "hydra.run.dir=run"
SLURM = {"SLURM_JOB_ID": "1234", "SLURM_JOB_NAME": "mva", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}


# 200 bytes break the first record, 20 kB a vector, 60 kB a ledger.
@pytest.mark.parametrize("size", [200, 20_000, 60_000])
def test_a_disk_without_room_is_one_sentence_and_the_run_resumes_to_the_same_bits(apps, undisturbed, size):
    assert apps(*apps.small, RUN, largest_file=size)["code"] == 2, apps.log
    assert "Traceback" not in apps.log
    assert "run" in apps.log or "cache" in apps.log
    assert "free" in apps.log or "limit" in apps.log
    assert apps(*apps.small, RUN)["code"] == 0, apps.log
    assert apps.results() == undisturbed.results
    assert apps.stored() == undisturbed.stored


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A stand-in for SLURM's program, which notes what it is asked for."""
    program, notes = tmp_path / "bin" / "scontrol", tmp_path / "asked"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {notes}\n', encoding="utf-8")
    program.chmod(0o755)
    return program.parent, notes


@pytest.mark.parametrize("share", [0.2, 0.55])
def test_sigusr1_queues_a_slurm_job_again_and_the_run_resumes_to_the_same_bits(apps, undisturbed, scontrol, share):
    folder, notes = scontrol
    apps.env.update(SLURM, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")
    stop = {"signal": signal.SIGUSR1, "at_write": round(share * undisturbed.n_writes)}
    assert apps(*apps.small, RUN, stop=stop)["code"] == 143, apps.log
    assert notes.read_text().split("\n") == ["requeue 1234", ""]
    assert not list(apps.home.glob("hpc_ckpt*"))  # Lightning's own, which would be taken for any vector's
    assert apps(*apps.small, RUN)["code"] == 0, apps.log
    assert apps.results() == undisturbed.results
