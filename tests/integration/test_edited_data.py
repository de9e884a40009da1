"""A run's folder after its data was edited: refused, or gone on with the current data alone; and a broken box."""

import json
import os
import subprocess
import sys

import pytest

from mva.analysis.warnings import warnings
from mva.runs.run_folder import read_run

VALUES = ("helpful", "harmless")


def write_data(folder, marks):
    """Two values on different prompts; `marks` are written into the texts."""
    for value in VALUES:
        rows = [
            {"prompt": f"{value} question {k} {marks[value]}?", "chosen": f"good {k} {value}", "rejected": f"bad {k}"}
            for k in range(40)
        ]
        (folder / f"{value}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def mva(folder, app, *words):
    data = [f"data.values.{value}.train.paths=[{value}.jsonl]" for value in VALUES]
    shares = [f"data.values.{value}.{split}_fraction=0.3" for value in VALUES for split in ("validation", "test")]
    config = ["--config-dir", "conf", "debug=smoke", "data=two", "paths.cache=cache", "reward=length", "tracking=local"]
    command = [sys.executable, "-m", f"mva.apps.{app}", *config, *data, *shares, *words]
    settings = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False, env=settings)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edited")
    (folder / "conf" / "data").mkdir(parents=True)
    source = (
        "    _target_: mva.data.loading.ValueSource\n    train:\n"
        "      _target_: mva.data.sources.local_files.LocalFiles\n      paths: ???\n"
        "    format:\n      _target_: mva.data.formats.PairColumns\n"
        "    validation_fraction: 0.1\n    test_fraction: 0.1\n"
    )
    values = "".join(f"  {value}:\n{source}" for value in VALUES)
    limits = "limits:\n  _target_: mva.data.tokenization.TokenLimits\n  prompt: 96\n  response: 48\n"
    head = f"on_bad_row: error\nmax_train_pairs: null\n{limits}values:\n"
    (folder / "conf" / "data" / "two.yaml").write_text(head + values, encoding="utf-8")
    write_data(folder, dict.fromkeys(VALUES, "first"))
    done = mva(folder, "run", "hydra.run.dir=run", "search.levels=1")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_edited_data_is_refused_and_then_gone_on_with_alone(home):
    before = read_run(home / "run")
    assert before.data_changed == ()
    write_data(home, {"helpful": "second", "harmless": "first"})

    refused = mva(home, "run", "hydra.run.dir=run", "search.levels=1")
    assert refused.returncode == 2
    assert "that of helpful has changed since" in refused.stderr
    assert read_run(home / "run") == before

    went_on = mva(home, "run", "hydra.run.dir=run", "search.levels=1", "data_changed=continue")
    assert went_on.returncode == 0, went_on.stderr[-3000:]
    after = read_run(home / "run")
    assert after.data_changed == ("helpful",)
    assert "The data of helpful changed while this run went on" in went_on.stderr
    assert "The data of helpful changed while this run went on" in (home / "run" / "report.html").read_text()
    prompts = {turn["content"] for line in after.generations for turn in line["prompt"] if turn["role"] == "user"}
    assert {prompt for prompt in prompts if prompt.startswith("helpful")} == {
        prompt for prompt in prompts if "second" in prompt
    }
    keys = {
        split: {line["key"] for line in after.candidates if line["split"] == split} for split in ("validation", "test")
    }
    assert [len(found) for found in keys.values()] == [1, 1]
    assert not keys["validation"] & {line["key"] for line in before.candidates}
    n_lines = len((home / "run" / "generations.jsonl").read_text().splitlines())
    assert n_lines == len(before.generations) + len(after.generations)

    judged = mva(home, "judge", "run=run", "judge=rewards")
    assert judged.returncode == 0, judged.stderr[-2000:]

    again = mva(home, "run", "hydra.run.dir=run", "search.levels=1")
    assert again.returncode == 0, again.stderr[-2000:]  # the data is that of the last time
    assert read_run(home / "run").data_changed == ("helpful",)


def test_candidates_beyond_what_the_model_can_compute_are_off_the_front_and_named(home):
    write_data(home, dict.fromkeys(VALUES, "first"))
    done = mva(home, "run", "hydra.run.dir=far", "search.levels=1", "extrapolation.maximum=1e37")
    assert done.returncode == 0, done.stderr[-3000:]
    run = read_run(home / "far")
    failed = {line["id"] for line in run.failed}
    assert failed
    assert not failed & {point.id for point in run.front.points}
    assert not failed & {line["id"] for line in run.candidates}
    (sentence,) = [warning for warning in warnings(run) if "Failed candidates" in warning]
    assert all(identifier in sentence for identifier in sorted(failed)[:5])
    assert "Failed candidates that are left out: " in done.stderr
    assert "Failed candidates that are left out" in (home / "far" / "report.html").read_text()
