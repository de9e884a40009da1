"""`mva-rewards` as a command, and what a run keeps of its checks."""

import json
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from mva.apps.command import conf_folder

SMOKE = ("debug=smoke", "paths.cache=cache", "hydra.run.dir=hydra", "reward=length", "evaluation.n_reward_pairs=40")
TABLE = {"COLUMNS": "200"}
NO_MODEL = ("model=local", "model.source.path=nowhere")


@pytest.fixture
def files(tmp_path):
    """Labelled pairs: in `long` the longer response is the chosen one in 45 of 50, in `short` in none."""
    for name, longer in (("long", 45), ("short", 0)):
        rows = []
        for k in range(50):
            texts = ["word " * 9, "word " * 4]
            chosen, rejected = texts if k < longer else texts[::-1]
            rows.append({"prompt": f"{name}: question {k}?", "chosen": chosen, "rejected": rejected})
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def check(value, source, accuracy, *, own=False):
    agreement = {"accuracy": accuracy, "low": accuracy - 0.08, "high": accuracy + 0.08, "n_pairs": 150}
    length = {**agreement, "prefers": "longer"}
    about = {"value": value, "source": source, "own": own, "left_out": 0}
    return {**about, **agreement, "length": length, "balanced": None, "survives": None}


def with_checks(folder):
    record = json.loads((folder / "rewards.json").read_text())
    own = [check(value, "own held-out pairs", 0.89, own=True) for value in record["rewards"]]
    checks = [*own, check("helpful", "hh", 0.72), check("harmless", "hh", 0.51)]
    (folder / "rewards.json").write_text(json.dumps({**record, "checks": checks}))
    return folder


def test_the_configurations_rewards_are_checked_without_training(in_process, files):
    ended = in_process("rewards", *SMOKE, "evaluation.reward_check=[long.jsonl,short.jsonl]", cwd=files, **TABLE)
    assert ended.returncode == 0, ended.stderr
    rows = [line for line in ended.stdout.splitlines() if "own held-out pairs" in line or " long " in line]
    assert len(rows) == 4, "two values, each on its own pairs and on those of long"
    assert "Weakest of 6 checks of rewards: helpful: agrees with 0 % (0 to 9) of the pairs of short" in ended.stdout
    assert "worse than chance" in ended.stdout
    assert not list(files.rglob("adapters"))
    assert not list((files / "cache").glob("vectors/*"))


def test_a_list_by_value_is_checked_for_that_value(in_process, files):
    words = [*SMOKE, "evaluation.reward_check={harmless:[short.jsonl]}"]
    ended = in_process("rewards", *words, cwd=files, **TABLE)
    assert ended.returncode == 0, ended.stderr
    (row,) = [line for line in ended.stdout.splitlines() if " short " in line and "Weakest" not in line]
    assert "harmless" in row


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["evaluation.reward_check=[missing.jsonl]"], "There is no file"),
        (["evaluation.reward_check=[bad.jsonl]"], "bad.jsonl:1: "),
        (["evaluation.reward_check={honest:[long.jsonl]}"], "evaluation.reward_check names honest, but the values are"),
    ],
)
@pytest.mark.parametrize("app", ["rewards", "run"])
def test_what_can_not_be_checked_is_refused_before_a_model_is_loaded(in_process, files, app, words, sentence):
    (files / "bad.jsonl").write_text('{"prompt": "Hi", "chosen": "Hello."}\n')
    ended = in_process(app, *SMOKE, *NO_MODEL, *words, cwd=files, WANDB_MODE="offline")
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert "nowhere" not in ended.stderr


def test_implicit_rewards_without_vectors_are_refused_before_a_model_is_loaded(in_process, files):
    ended = in_process("rewards", *SMOKE, *NO_MODEL, "reward=implicit", cwd=files)
    assert ended.returncode == 2
    assert "The reward of 'helpful' is its own vector's implicit one: give the run" in ended.stderr


def test_what_a_run_has_found_is_printed_without_a_model(in_process, make_run_folder, tmp_path):
    folder = with_checks(make_run_folder(tmp_path / "run", 2))
    ended = in_process("rewards", f"run={folder}", "hydra.run.dir=hydra", cwd=tmp_path, **TABLE)
    assert ended.returncode == 0, ended.stderr
    assert "harmless: agrees with 51 % (43 to 59) of the pairs of hh: no better than chance." in ended.stdout


def test_rewards_that_are_not_the_runs_are_refused(in_process, make_run_folder, files):
    folder = make_run_folder(files / "run", 2)
    (folder / "rewards.json").write_text((folder / "rewards.json").read_text().replace('"key": "k"', '"key": "other"'))
    words = [f"run={folder}", *SMOKE, "evaluation.reward_check=[long.jsonl]"]
    ended = in_process("rewards", *words, cwd=files)
    assert ended.returncode == 2
    assert "is not the one of" in ended.stderr
    assert "repeat the words of the run's command" in ended.stderr


def test_page_and_terminal_of_a_run_name_the_weakest(in_process, make_run_folder, tmp_path):
    folder = with_checks(make_run_folder(tmp_path / "run", 2))
    ended = in_process("report", f"run={folder}", "report.forms=[]", "hydra.run.dir=hydra", cwd=tmp_path, **TABLE)
    assert ended.returncode == 0, ended.stderr
    words = "harmless: agrees with 51 % (43 to 59) of the pairs of hh: no better than chance."
    assert words in " ".join(ended.stdout.split())
    page = (folder / "report.html").read_text()
    assert words in page
    assert 'id="reward-checks"' in page


def test_a_run_keeps_its_checks_and_implicit_rewards_are_checked_with_its_vectors(in_process, files):
    words = [word for word in SMOKE if word != "hydra.run.dir=hydra" and not word.startswith("reward=")]
    words = [*words, "reward=implicit", "search=one_hot", "penalty.baseline=false", "tracking=local"]
    given = "evaluation.reward_check=[long.jsonl]"
    ended = in_process("run", *words, given, "hydra.run.dir=run", cwd=files)
    assert ended.returncode == 0, ended.stderr
    checks = json.loads((files / "run" / "rewards.json").read_text())["checks"]
    assert [(c["value"], c["source"]) for c in checks] == [
        ("helpful", "own held-out pairs"), ("harmless", "own held-out pairs"), ("helpful", "long"), ("harmless", "long"),
    ]  # fmt: skip
    assert checks[2]["n_pairs"] == 40
    ended = in_process("rewards", "run=run", *words, given, "hydra.run.dir=hydra", cwd=files, **TABLE)
    assert ended.returncode == 0, ended.stderr
    shown = [f"{100 * c['accuracy']:.0f} % ({100 * c['low']:.0f} to {100 * c['high']:.0f})" for c in checks]
    assert all(share in ended.stdout for share in shown)


def test_the_documents_commands_compose():
    text = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()
    commands = re.findall(r"^    (mva(?:-rewards)? .*?)(?: +#.*)?$", text, re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            compose("config", overrides=shlex.split(command)[1:])
