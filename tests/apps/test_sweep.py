"""Multiruns as Hydra runs them, in this process, with stand-in tasks; one with the real explore app."""

import json
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from mva.apps import assemble
from mva.apps.command import app, conf_folder
from mva.apps.explore import of_one_candidate
from mva.apps.run_folder import identity, open_run_folder
from mva.apps.sweep import SweepReport
from mva.runs.sweep_folder import read_outcome


@pytest.fixture
def started(tmp_path, monkeypatch, make_run_folder):
    """Start a multirun over penalty.strength into one folder; strength 13 fails. Returns its exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    calls = []

    def task(config):
        folder = Path(HydraConfig.get().runtime.output_dir)
        calls.append(config.penalty.strength)
        if config.penalty.strength == 13:
            raise RuntimeError("unlucky [number]")
        if config.penalty.strength == 17:
            raise KeyboardInterrupt
        made = make_run_folder(folder / "made", 2)
        for path in made.iterdir():
            path.replace(folder / path.name)
        open_run_folder(folder, config) if not (folder / "config.yaml").exists() else None
        return float(config.penalty.strength)

    def start(*words):
        calls.clear()
        monkeypatch.setattr(sys, "argv", ["mva", "-m", "hydra.sweep.dir=F", "tracking=local", *words])
        try:
            app(task)()
        except SystemExit as ended:
            return ended.code, list(calls)
        return 0, list(calls)

    return start


def outcomes():
    return {path.parent.name: read_outcome(path.parent) for path in Path("F").rglob("outcome.json")}


def test_a_multirun_ends_with_one_front_over_its_jobs(started, capsys):
    assert started("penalty.strength=0,10") == (0, [0, 10])
    assert {(o.state, o.objective) for o in outcomes().values()} == {("finished", 0.0), ("finished", 10.0)}
    said = capsys.readouterr().err
    assert "Sweep of 2 jobs" in said
    assert [line.split()[0] for line in said.splitlines() if "of 14" in line] == ["0", "10"]
    assert {p.name for p in Path("F").iterdir() if p.is_file()} == {
        "front.pdf",
        "front.png",
        "front.svg",
        "multirun.yaml",
        "report.html",
        "sweep.json",
    }


def test_a_mirrored_multirun_ends_with_a_run_for_all_its_jobs(started, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert started("penalty.strength=0,10", "tracking=wandb", "tracking.mode=offline") == (0, [0, 10])
    assert len(list(Path("F").glob("wandb/offline-run-*"))) == 1


def test_a_failing_job_stops_no_other_and_the_multirun_says_why_and_exits_with_1(started, capsys):
    assert started("penalty.strength=13,10") == (1, [13, 10])
    said = capsys.readouterr().err
    assert "1 failed" in said
    assert "RuntimeError: unlucky [number]" in said
    assert "unlucky" in Path("F/penalty.strength=13/traceback.txt").read_text()
    assert [job["status"] for job in json.loads(Path("F/sweep.json").read_text())["jobs"]] == ["failed", "finished"]


def test_the_same_command_again_skips_what_is_finished_and_tries_again_what_failed(started, capsys):
    started("penalty.strength=13,10")
    capsys.readouterr()
    assert started("penalty.strength=13,10") == (1, [13])
    assert "Skipped, finished already: tracking=local penalty.strength=10" in capsys.readouterr().err


def test_a_failure_that_is_not_asked_for_again_is_forgotten(started):
    started("penalty.strength=13,10")
    assert started("penalty.strength=10,20") == (0, [20])


def test_a_finished_job_of_another_configuration_is_not_skipped(started, monkeypatch):
    started("penalty.strength=0")
    path = Path("F/penalty.strength=0/outcome.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "configuration": "other"}))
    assert started("penalty.strength=0")[1] == [0]


def test_a_stopped_multirun_goes_on_where_it_was_stopped(started):
    assert started("penalty.strength=0,17,10") == (130, [0, 17])
    assert outcomes()["penalty.strength=17"].state == "running"
    assert started("penalty.strength=0,10") == (0, [10])
    assert [j["status"] for j in json.loads(Path("F/sweep.json").read_text())["jobs"]] == [
        "finished",
        "finished",
        "unfinished",
    ]


def test_coefficients_are_a_search_of_one_candidate():
    config = OmegaConf.create(
        {"coefficients": {"helpful": 0.5, "harmless": 1.5}, "search": {"_target_": "x", "levels": 3}}
    )
    assert of_one_candidate(config).search == {
        "_target_": "mva.search.listed.Listed", "candidates": [{"helpful": 0.5, "harmless": 1.5}], "include_corners": False,
    }  # fmt: skip
    assert config.search._target_ == "x"
    assert of_one_candidate(OmegaConf.create({"coefficients": {}, "search": 1})).search == 1


RECIPES = sorted(path.stem for path in (conf_folder() / "experiment").glob("sweep_*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_first_and_the_last_job_of_a_recipe_assemble(recipe):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        whole = compose("config", overrides=[f"experiment={recipe}"], return_hydra_config=True)
        assert whole.hydra.mode.name == "MULTIRUN"
        words = [f"{key}={choices}" for key, choices in whole.hydra.sweeper.params.items()]
        (jobs,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)
        configs = [compose("config", overrides=[f"experiment={recipe}", *job]) for job in (jobs[0], jobs[-1])]
    assert identity(configs[0]) != identity(configs[1])
    for config in configs:
        assemble.experiment(of_one_candidate(config))


def test_a_values_name_needs_no_plus_and_a_misspelt_key_is_still_refused():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        assert compose("config", overrides=["coefficients.kind=1"]).coefficients == {"kind": 1}
        with pytest.raises(ConfigCompositionException):
            compose("config", overrides=["coeficients.kind=1"])


def test_a_sweep_without_a_job_says_so_and_exits_with_1(tmp_path, capsys):
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    with pytest.raises(SystemExit) as ended:
        SweepReport().on_multirun_end(config)
    assert ended.value.code == 1
    assert "The sweep has no job in" in capsys.readouterr().err
