"""A stopped run names the very command that continues it; terminals of any kind show it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from mva.apps import resume
from mva.runs.environment import environment
from mva.tracking.weights_and_biases import short_name

SMOKE = ["debug=smoke", "paths.cache=cache", "tracking=local", "value.names=[helpful]"]


@pytest.mark.parametrize(
    ("folder", "override"),
    [
        ("outputs/default/2026-11-26_10-00-00", "hydra.run.dir=outputs/default/2026-11-26_10-00-00"),
        ("out puts/a=1,b='x'", "hydra.run.dir='out puts/a=1,b=\\'x\\''"),
    ],
)
def test_the_command_is_the_one_that_was_typed_with_the_folder_filled_in(folder, override):
    resume.remember("hydra.run.dir", folder)
    said = resume.stop_message(["/venv/bin/mva", "value.names=[helpful]", "hydra.run.dir=elsewhere", "seed=1"])
    assert shlex.split(said.splitlines()[1]) == ["/venv/bin/mva", "value.names=[helpful]", "seed=1", override]


def test_a_multirun_continues_in_its_sweep_folder():
    resume.remember("hydra.sweep.dir", "outputs/multirun/x")
    said = resume.stop_message(["mva", "-m", "seed=0,1"])
    assert shlex.split(said.splitlines()[1]) == ["mva", "-m", "seed=0,1", "hydra.sweep.dir=outputs/multirun/x"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_printed_command_continues_in_the_same_folder(tmp_path, stop):
    words = [*SMOKE, "trainer.recipe.steps=4000", "trainer.execution.checkpoint_every=2"]
    command = [sys.executable, "-m", "mva.apps.train", *words]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 120
            while not list(tmp_path.glob("cache/unfinished/*/last.ckpt")) and time.monotonic() < deadline:
                time.sleep(0.1)
            process.send_signal(stop)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[stop]
    assert "Traceback" not in said
    line = said.splitlines()[-1].strip()
    (folder,) = tmp_path.glob("outputs/smoke/*")
    assert shlex.split(line)[-1] == f"hydra.run.dir=outputs/smoke/{folder.name}"

    again = subprocess.run(
        f"{line} trainer.recipe.steps=4000 --cfg job",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert "steps: 4000" in again.stdout


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    row = {"prompt": "Été ?", "chosen": "Oui, naturellement.", "rejected": "Non."}
    (folder / "données.jsonl").write_text(f"{json.dumps(row)}\nbroken é\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "20"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "dumb", "NO_COLOR": "1"},
    ],
    ids=["ascii", "narrow", "C locale"],
)
def test_terminals_of_any_kind_are_served(odd_folder, settings):
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from mva.apps.data import main; sys.exit(main())", "données.jsonl"],
        cwd=odd_folder, env={**os.environ, **settings}, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    said = (done.stdout + done.stderr).decode(errors="strict")
    assert "Traceback" not in said
    assert done.returncode == 1
    assert "1" in said


WITHOUT_POSIX = """
import os, sys
from mva.apps.run import main  # torch picks its system when it is imported: what is left out below is what mva may ask for
del os.sysconf
for name in ("fork", "getuid", "geteuid", "mkfifo"):
    delattr(os, name)
import builtins, io, pathlib
exists = pathlib.Path.exists
pathlib.Path.exists = lambda path, **more: False if str(path).startswith("/proc") else exists(path, **more)
sys.argv[0] = "mva"
main()
"""


def test_a_run_needs_nothing_that_only_posix_has(tmp_path):
    words = [*SMOKE, "trainer.recipe.steps=2", "search=coarse", "hydra.run.dir=run"]
    settings = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "40"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, *words],
        cwd=tmp_path,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert record["machine"]["memory_gb"] is None
    assert (tmp_path / "run" / "report.html").is_file()


def test_memory_is_recorded_where_it_can_be_asked_for():
    memory = environment(0)["machine"]["memory_gb"]
    assert memory is None or memory > 0


def test_names_for_wandb_are_short_and_stay_apart():
    long = "penalty=" + "x" * 200
    assert len(short_name(long)) == 128
    assert short_name(long + "a") != short_name(long + "b")
    assert short_name("short") == "short"
