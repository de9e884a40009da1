"""mva-power as a command."""

import pytest
from hydra import compose, initialize_config_dir

from mva.apps import power
from mva.apps.command import conf_folder
from mva.runs.run_folder import UnreadableRun
from mva.runs.sweep_folder import Outcome


def start(*words):
    """Run the app's task on a configuration, without Hydra around it."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=list(words))
    vars(power.main)["__wrapped__"](config)


def test_a_run_is_told_what_its_candidates_need(tmp_path, make_run_folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    folder = make_run_folder(tmp_path / "run", 2)
    before = sorted(path.name for path in folder.iterdir())
    start(f"run={folder}", "power.difference=0.2")
    printed = capsys.readouterr().out
    assert "Two of the 14 candidates, on 3 validation prompts" in printed
    assert "To detect: 20% of a score's standard deviation" in printed
    assert max(map(len, [line for line in printed.splitlines() if "mva-explore" not in line])) <= 80
    assert sorted(path.name for path in folder.iterdir()) == before, "nothing is written"


def test_a_folder_that_is_neither_run_nor_sweep_is_named(tmp_path):
    with pytest.raises(UnreadableRun, match="neither a run"):
        start(f"run={tmp_path}")
    with pytest.raises(ValueError, match="Which run"):
        start()


def test_a_sweep_without_anything_to_compare_says_what_to_run(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "sweep" / "seed=0", 2)
    Outcome("run", 0, ["seed=0"], "hash", "finished", 300.0, 1.0).write(folder)
    with pytest.raises(ValueError, match="nothing to compare"):
        start(f"run={tmp_path / 'sweep'}")


@pytest.mark.parametrize("word", ["power.minutes=0", "power.difference=-1"])
def test_settings_that_make_no_sense_are_refused(in_process, tmp_path, word):
    ended = in_process("power", word, cwd=tmp_path)
    assert ended.returncode == 2
    assert word.partition("=")[0] in ended.stderr
