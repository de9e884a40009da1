"""What was mirrored into W&B, read back from its own offline files."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from mva.report.figures import save
from mva.tracking.base import RunIdentity
from mva.tracking.composite import Composite
from mva.tracking.local import Local
from mva.tracking.weights_and_biases import WeightsAndBiases, _patience

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)


def identity(folder):
    folder.mkdir()
    return RunIdentity(folder, folder.name, "sweep", "run", {"seed": 0, "penalty": {"strength": 10.0}})


def fail_in(run):
    with WeightsAndBiases().start(run) as tracker:
        tracker.log({"a": 1.0}, 1)
        raise RuntimeError("on purpose")


def read_back(folder, *options):
    (run,) = folder.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(run)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_metrics_summary_table_and_figure_are_in_the_offline_run(tmp_path, offline):
    run = identity(tmp_path / "one")
    figure = save(Figure(figsize=(1, 1)), run.folder, "front")
    with WeightsAndBiases().start(run) as tracker:
        tracker.log({"train/helpful/loss": 0.625}, 3)
        tracker.log({"explore/hypervolume": 0.5}, 7)
        tracker.table("candidates", ["id", "score"], [["abc", 1.5]])
        tracker.figure("front", figure)
        tracker.artifact("front", "front", [figure])
        tracker.summary({"hypervolume": 1.25})
    summary = read_back(run.folder, "--summary")
    for words in ("hypervolume", "1.25", "candidates", "table-file", "front", "image-file"):
        assert words in summary
    records = read_back(run.folder).replace(" ", "")
    assert "train/helpful/loss" in records
    for name, axis in (("train/*", "step"), ("explore/*", "explore/evaluations")):
        assert re.search(rf'"glob_name":"{re.escape(name)}".*"step_metric":"{axis}"', records)
    assert "0.625" in records
    assert "penalty" in records


def test_control_characters_of_strangers_are_sent_as_escapes(tmp_path, offline):
    folder = tmp_path / "run"
    folder.mkdir()
    evil = "evil\x1b[2J\u202e"
    run = RunIdentity(folder, f"name {evil}", f"group {evil}", "run", {"data": {"file": f"path {evil}"}})
    with WeightsAndBiases().start(run) as tracker:
        tracker.log({f"train/{evil}/loss": 0.5}, 1)
        tracker.table("responses", ["prompt", f"column {evil}"], [["p", f"cell {evil}"]])
        tracker.summary({f"best {evil}": f"job {evil}"})
    (table,) = folder.glob("wandb/offline-run-*/files/media/table/*.json")
    written = json.loads(table.read_text())
    assert written == {
        **written,
        "columns": ["prompt", r"column evil\x1b[2J\u202e"],
        "data": [["p", r"cell evil\x1b[2J\u202e"]],
    }
    (record,) = folder.glob("wandb/offline-run-*/*.wandb")
    for stored in (evil, json.dumps(evil)[1:-1]):
        assert stored.encode() not in record.read_bytes()
    assert record.read_bytes().count(rb"\x1b[2J") >= 4


def test_two_runs_of_one_process_are_two_also_after_one_failed(tmp_path, offline):
    first, second = identity(tmp_path / "one"), identity(tmp_path / "two")
    with pytest.raises(RuntimeError, match="on purpose"):
        fail_in(first)
    with WeightsAndBiases().start(second) as tracker:
        tracker.log({"b": 2.0}, 1)
    one, two = read_back(first.folder), read_back(second.folder)
    assert '"a"' in one or "a" in json.dumps(one)
    assert '"exitCode":1' in one.replace(" ", "") or '"exit_code":1' in one.replace(" ", "")
    assert "on purpose" not in two


def test_a_run_that_goes_on_is_the_same_run(tmp_path, offline):
    run = identity(tmp_path / "one")
    with pytest.raises(RuntimeError, match="on purpose"):
        fail_in(run)
    (begun,) = run.folder.glob("wandb/offline-run-*")
    begun.rename(
        begun.with_name(f"offline-run-20200101_000000-{begun.name.rpartition('-')[2]}")
    )  # not in the same second
    with WeightsAndBiases().start(run) as tracker:
        tracker.log({"a": 2.0}, 2)
    folders = list(run.folder.glob("wandb/offline-run-*"))
    assert len(folders) == 2
    assert len({folder.name.rpartition("-")[2] for folder in folders}) == 1, (
        "one id: W&B joins them when they are synced"
    )


def test_nothing_is_said_and_no_key_is_asked_for(tmp_path, offline, capfd):
    with WeightsAndBiases().start(identity(tmp_path / "one")) as tracker:
        folder = tmp_path / "adapters"
        folder.mkdir()
        (folder / "a").write_text("a")
        tracker.artifact("vectors", "model", [folder])
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_the_local_files_hold_the_same_facts(tmp_path):
    run = identity(tmp_path / "one")
    with Composite((Local(),)).start(run) as tracker:
        tracker.log({"train/helpful/loss": 0.5}, 1)
        tracker.log({"train/helpful/loss": 0.25}, 2)
        tracker.summary({"hypervolume": 1.0})
        tracker.summary({"front_points": 3})
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["train/helpful/loss"]) for line in lines] == [(1, 0.5), (2, 0.25)]
    assert json.loads((run.folder / "summary.json").read_text()) == {"hypervolume": 1.0, "front_points": 3}


def test_a_user_who_is_logged_in_but_offline_waits_no_longer_than_wanted_and_runs(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody_listens = taken.getsockname()[1]
    settings = {
        "WANDB_BASE_URL": f"http://127.0.0.1:{nobody_listens}",
        "WANDB_API_KEY": "0" * 40,
        "WANDB_INIT_TIMEOUT": "2",
    }
    code = (
        "import sys; from pathlib import Path\n"
        "from mva.tracking.base import RunIdentity; from mva.tracking.composite import Composite\n"
        "from mva.tracking.local import Local; from mva.tracking.weights_and_biases import WeightsAndBiases\n"
        "run = RunIdentity(Path(sys.argv[1]), 'one', 'group', 'run', {})\n"
        "with Composite((Local(), WeightsAndBiases())).start(run) as tracker:\n"
        "    tracker.log({'train/helpful/loss': 0.5}, 1)\n"
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, env=inherited | settings, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "WeightsAndBiases is switched off: its start failed" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert '"train/helpful/loss": 0.5' in (tmp_path / "metrics.jsonl").read_text()


def test_the_wait_for_a_network_is_bounded_and_the_users_environment_has_its_say(monkeypatch):
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "5")
    monkeypatch.delenv("WANDB_INIT_TIMEOUT", raising=False)
    assert _patience() == {"init_timeout": 20.0, "finish_timeout": 5.0}
