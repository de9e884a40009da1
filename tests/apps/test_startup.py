"""A command that only composes its configuration, or reads text, takes a second: torch and Lightning are not imported."""

import importlib
import json
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
# As the script that pip writes for an entry point, with a list of what was imported.
SCRIPT = """
import atexit, json, sys
HEAVY = {{"torch", "lightning_fabric", "pytorch_lightning", "peft", "sklearn", "matplotlib", "plotly"}}
atexit.register(lambda: print("IMPORTED", json.dumps(sorted(HEAVY & sys.modules.keys()))))
from {module} import {function}
sys.argv[0] = "{command}"
sys.exit({function}())
"""
PAIR = {"prompt": "How are you?", "chosen": "Fine, thank you.", "rejected": "No."}


def start(command, *words, folder):
    """Start a command of pyproject.toml; returns its status, what it says, what it imported, and its CPU seconds."""
    module, function = SCRIPTS[command].split(":")
    code = SCRIPT.format(module=module, function=function, command=command)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said, _, imported = ended.stdout.rpartition("IMPORTED ")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return ended.returncode, said + ended.stderr, json.loads(imported), seconds


@pytest.mark.parametrize(
    ("command", "words", "status", "part"),
    [
        ("mva", ["--help"], 0, "`mva`: train value vectors"),
        ("mva-serve", ["--help"], 0, "`mva-serve FOLDER`: the live dial"),
        ("mva", ["estimatr=hsic"], 2, "Did you mean estimator"),
        ("mva", ["estimator=hsik"], 2, "Did you mean estimator=hsic?"),
        ("mva", ["--cfg", "job"], 0, "experiment_name:"),
        ("mva-data", ["pairs.jsonl"], 0, "No problems found."),
    ],
)
def test_what_needs_no_model_starts_without_torch(tmp_path, command, words, status, part):
    (tmp_path / "pairs.jsonl").write_text(json.dumps(PAIR) + "\n")
    code, said, imported, seconds = start(command, *words, folder=tmp_path)
    assert code == status, said
    assert part in said
    assert imported == []
    assert seconds < 3, "1 s where the machine has nothing else to do"


def test_a_task_behind_the_door_is_that_of_its_app(tmp_path):
    code, said, imported, _ = start("mva-train", "seed=-1", "hydra.run.dir=out", folder=tmp_path)
    assert code == 2, said
    assert "BadSetting: seed is -1" in said
    assert "torch" in imported
    assert "job:\n" in (tmp_path / "out" / ".hydra" / "hydra.yaml").read_text()
    assert "  name: train\n" in (tmp_path / "out" / ".hydra" / "hydra.yaml").read_text()


@pytest.mark.parametrize("command", SCRIPTS)
def test_every_command_is_named_after_its_app(command):
    module, _, function = SCRIPTS[command].partition(":")
    app = "run" if command == "mva" else command.removeprefix("mva-")
    assert (module, function) in (("mva.apps.door", app), (f"mva.apps.{app}", "main"))
    assert callable(getattr(importlib.import_module(module), function))
    assert callable(importlib.import_module(f"mva.apps.{app}").main)
