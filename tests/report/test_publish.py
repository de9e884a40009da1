"""Everything that a run's folder holds arrives in W&B, read back from its own offline files."""

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from mva.report.page import write_report
from mva.report.publish import publish, publish_sweep, replay
from mva.report.sweep_page import write_sweep
from mva.runs.sweep_folder import Outcome
from mva.tracking.base import RunIdentity
from mva.tracking.weights_and_biases import WeightsAndBiases

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


class Recorder:
    """Keep what a tracker is told, by kind and name."""

    def __init__(self):
        self.told = []

    def log(self, metrics, step):
        self.told += [("log", name, step, value) for name, value in metrics.items()]

    def summary(self, facts):
        self.told += [("summary", name, None, value) for name, value in facts.items()]

    def __getattr__(self, kind):
        return lambda name, *values, **named: self.told.append((kind, name, values, named))

    def names(self, kind):
        return [name for k, name, *_ in self.told if k == kind]


class RecordingSpec:
    """Let everything that is started tell one `tracker`."""

    def __init__(self):
        self.tracker = Recorder()

    @contextmanager
    def start(self, run):
        yield self.tracker


@pytest.fixture
def folder(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "run", 2)
    (folder / "adapters" / "helpful").mkdir(parents=True)
    (folder / "adapters" / "helpful" / "adapter_config.json").write_text("{}")
    write_report(folder, forms=[])
    return folder


def test_tables_figures_page_artifacts_and_results_are_sent(folder):
    tracker = Recorder()
    publish(folder, tracker)
    assert tracker.names("table") == ["candidates", "front_table", "responses"]
    assert tracker.names("plot") == ["pareto_front"]
    assert tracker.names("figure") == ["front", "hypervolume_curve", "interference", "training"]
    assert tracker.names("page") == ["report"]
    assert tracker.names("artifact") == ["value-vectors", "front"]
    facts = {name: value for kind, name, _, value in tracker.told if kind == "summary"}
    front = json.loads((folder / "front.json").read_text())
    assert facts["hypervolume"] == front["hypervolume"]
    assert facts["dependence/helpful-harmless/HSIC/independent_training"] == 0.02
    assert facts["preservation/harmless/norm_ratio"] == 0.8
    curve = [(step, value) for kind, name, step, value in tracker.told if name == "explore/hypervolume"]
    assert [step for step, _ in curve] == list(range(1, 15))
    assert curve[-1][1] == pytest.approx(front["hypervolume"])


def test_a_replay_sends_the_training_metrics_with_their_steps(folder):
    tracker = Recorder()
    replay(folder, tracker)
    sent = [(step, value) for _, name, step, value in tracker.told if name == "train/helpful/preference_loss"]
    assert sent == [(step, 0.7 / step) for step in range(1, 9)]


def test_wandb_holds_each_of_them(folder, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    identity = RunIdentity(folder, "run", "my-sweep", "report", {"penalty": {"strength": 10.0}})
    with WeightsAndBiases(mode="offline").start(identity) as tracker:
        replay(folder, tracker)
    (run,) = folder.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect"]
    read = [
        subprocess.run(
            [*command, *o, "--json", str(run)], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for o in ([], ["--summary"])
    ]
    for words in (
        "my-sweep",
        "report",
        "penalty",
        "train/helpful/preference_loss",
        "explore/hypervolume",
        "value-vectors",
    ):
        assert words in read[0], words
    kinds = {name: what["_type"] for name, what in json.loads(read[1])["summary"].items() if isinstance(what, dict)}
    assert kinds == {
        **dict.fromkeys(["candidates", "front_table", "responses"], "table-file"),
        **dict.fromkeys(["front", "hypervolume_curve", "interference", "training"], "image-file"),
        "pareto_front": "plotly-file", "report": "html-file",
    }  # fmt: skip


def test_wandb_holds_a_run_for_a_sweep_as_a_whole(tmp_path, make_run_folder, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    for number in range(2):
        make_run_folder(tmp_path / "my-sweep" / f"s={number}", 3)
        Outcome("run", number, [f"seed={number}"], state="finished").write(tmp_path / "my-sweep" / f"s={number}")
    view = write_sweep(tmp_path / "my-sweep")
    publish_sweep(view, WeightsAndBiases(mode="offline"))
    (run,) = view.folder.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    records = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    for words in ("my-sweep", "report", "swept", "joint_front", "joint_front_0_1", "jobs", "table-file", "plotly-file",
                  "html-file", "image-file", "sweep.json", "joint_hypervolume"):  # fmt: skip
        assert words in records, words
    assert repr(view.fronts[0].hypervolume)[:8] in records


def test_no_result_has_the_name_of_a_table_or_a_figure_which_it_would_replace(folder, tmp_path):
    outcome = Outcome("run", 0, ["seed=0"], state="finished")
    outcome.write(folder)
    spec = RecordingSpec()
    publish(folder, spec.tracker)
    publish_sweep(write_sweep(tmp_path), spec)
    shown = {name for kind in ("table", "figure", "plot", "page") for name in spec.tracker.names(kind)}
    assert {"candidates", "jobs", "joint_front"} <= shown
    assert shown.isdisjoint(spec.tracker.names("summary"))


def test_the_jobs_of_a_sweep_are_a_table_of_settings_and_numbers(folder, tmp_path):
    Outcome("run", 0, ["seed=0"], state="finished").write(folder)
    other = tmp_path / "failed"
    other.mkdir()
    Outcome("run", 1, ["seed=1"], state="failed", error="no").write(other)
    spec = RecordingSpec()
    publish_sweep(write_sweep(tmp_path), spec)
    ((columns, rows),) = [values for kind, name, values, _ in spec.tracker.told if (kind, name) == ("table", "jobs")]
    first, second = (dict(zip(columns, row, strict=True)) for row in rows)
    assert (first["seed"], first["status"], second["seed"], second["error"]) == ("0", "finished", "1", "no")
    assert isinstance(first["hypervolume_common"], float)
    assert second["hypervolume_common"] is None
