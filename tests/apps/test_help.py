"""What the apps say of themselves, of misspelt words, and of keys that they don't read; the jobs' folders."""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from mva.apps.command import app, conf_folder
from mva.apps.help import READERS
from mva.apps.job_folder import job_folder

APPS = Path(__file__).parents[2] / "mva" / "apps"
NAMES = (
    "run", "train", "explore", "report", "export", "judge", "rewards", "power", "tune", "serve", "data", "cache",
)  # fmt: skip


def examples(name):
    block = ast.get_docstring(ast.parse((APPS / f"{name}.py").read_text())).split("Examples:\n")[1]
    return [re.split(r" {2,}", line.strip())[0] for line in block.splitlines()]


COMPOSED = [
    (name, command) for name in NAMES if name not in ("data", "cache") for command in examples(name)
]  # these two: their own tests


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """Give a stand-in app some words; returns its exit status and all that it says."""
    monkeypatch.chdir(tmp_path)

    def start(*words, task=lambda config: None):
        monkeypatch.setattr(sys, "argv", ["mva", *words])
        try:
            app(task)()
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return start


@pytest.mark.parametrize("name", NAMES)
def test_every_app_shows_three_examples(name):
    assert len(examples(name)) == 3


@pytest.mark.parametrize(("name", "command"), COMPOSED)
def test_every_example_composes_and_is_of_its_app(name, command):
    own, *words = shlex.split(command)
    assert own == ("mva" if name == "run" else f"mva-{name}")
    overrides = [re.sub(r"=([^\[{,]+),.*$", r"=\1", word) for word in words if word != "-m"]
    for key in (word.partition("=")[0].partition(".")[0] for word in overrides):
        assert name in READERS.get(key, (name,))
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        compose("config", overrides=overrides)


def test_help_opens_with_the_modules_words_and_lists_the_groups(said):
    status, text = said("--help")
    assert status == 0
    assert text.startswith("What the apps say of themselves")
    assert re.search(r"^estimator: .*\bhsic\b", text, re.MULTILINE)
    assert "--cfg job" in text


@pytest.mark.parametrize(
    ("word", "hydras", "meant"),
    [
        ("estimator=hsik", "choose one of club, correlation", "estimator=hsic"),
        ("estimater=hsic", "Could not override 'estimater'", "estimator"),
        ("penalty.strenght=1", "Could not override 'penalty.strenght'", "penalty.strength"),
    ],
)
def test_a_misspelt_word_is_answered_with_hydras_sentence_and_a_suggestion(said, word, hydras, meant):
    status, text = said(word)
    assert status == 2
    assert hydras in text
    assert re.search(rf"Did you mean {re.escape(meant)}( or |\?)", text)
    assert "Traceback" not in text


def test_a_word_that_is_like_nothing_gets_no_suggestion(said):
    status, text = said("qqqqqqqq=1")
    assert status == 2
    assert "Did you mean" not in text


def test_a_key_of_a_group_that_is_swept_over_is_answered_with_what_hydra_takes(said):
    status, text = said("-m", "method=modpo,loss_weighting", "plan.divisions=2")
    assert status == 2
    assert "write 'plan.divisions=choice(2)'" in text
    seen = []
    said("-m", "method=modpo,loss_weighting", "plan.divisions=choice(2)", task=lambda c: seen.append(c.plan.divisions))
    assert seen == [2, 2]


@pytest.mark.parametrize("word", ["coefficients.helpful=1", "run=x", "+export.more=1"])
def test_a_key_that_the_app_does_not_read_is_refused(said, monkeypatch, word):
    monkeypatch.setattr("mva.apps.help.command_of", lambda task: "train")
    status, text = said(word)
    assert status == 2
    assert f"{word}: mva-train does not read '{word.lstrip('+').partition('=')[0].partition('.')[0]}'" in text


def test_a_short_job_folder_is_the_overrides_and_a_long_one_is_cut_and_distinct():
    assert job_folder("data=a/b,seed=1") == "data=a/b,seed=1"
    first, second = (job_folder("é" * 200 + str(end)) for end in (1, 2))
    assert first != second
    assert len(first.encode()) <= 200
    assert first == job_folder("é" * 200 + "1")


def test_a_job_with_forty_overrides_has_a_folder_and_finds_it_again(said):
    folders = []
    words = [f"coefficients.value_{i}=0.5" for i in range(40)]
    for _ in range(2):
        said("-m", "hydra.sweep.dir=F", *words, "seed=1,2", task=lambda c: folders.append(_output_dir()))
        for path in Path("F").rglob("outcome.json"):
            path.unlink()
    assert folders[:2] == folders[2:]
    assert len(set(folders)) == 2
    assert all(len(path.name) <= 200 and path.parent.name == "F" for path in folders)


def _output_dir():
    return Path(HydraConfig.get().runtime.output_dir)


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ("data.path=../../../x", "data.path=../%2E%2E/%2E%2E/x"),
        ("a=./x", "a=./x"),
        ("/etc/x=1", "%2F/etc/x=1"),
        ("..", "%2E%2E"),
        ("../../x", "%2E%2E/%2E%2E/x"),
        ("a=x/.", "a=x/%2E"),
        ("a=\x00b\n", "a=%00b%0A"),
        ("", "%2F"),
    ],
)
def test_no_overrides_name_a_folder_outside_of_the_sweeps(overrides, folder):
    assert job_folder(overrides) == folder


def test_jobs_over_paths_that_lead_upwards_stay_in_the_sweeps_folder(said):
    folders = []
    words = ("adapters.a=../../../x,/etc/y,.,..", "hydra.sweep.dir=F/S")
    said("-m", *words, "tracking=local", task=lambda c: folders.append(_output_dir().resolve()))
    assert len(set(folders)) == 4
    home = Path("F/S").resolve()
    assert all(home in folder.parents for folder in folders)
    assert [path.name for path in Path().iterdir()] == ["F"]


@pytest.mark.parametrize("words", [("hydra.sweep.subdir=../x",), ("hydra.sweep.subdir=/tmp/x",)])
def test_a_job_folder_of_the_users_own_lies_in_the_sweeps(said, words):
    status, printed = said("-m", *words, "hydra.sweep.dir=F/S", "seed=1,2")
    assert status == 2
    assert "a job's folder lies in the sweep's" in printed


def test_a_job_folder_that_depends_on_the_job_stays_inside_too(said):
    folders = []
    words = ["hydra.sweep.subdir='../${hydra.job.num}'", "hydra.sweep.dir=F/S", "seed=1,2"]
    said("-m", *words, task=lambda c: folders.append(_output_dir().resolve().relative_to(Path("F/S").resolve())))
    assert [str(folder) for folder in folders] == ["%2E%2E/0", "%2E%2E/1"]


def test_the_jobs_of_a_sweep_over_experiments_share_its_folder(said):
    folders = []
    words = ["experiment_name=a,b", "paths.outputs=O"]
    said("-m", *words, task=lambda c: folders.append(_output_dir()))
    assert len({folder.parent for folder in folders}) == 1
