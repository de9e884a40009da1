"""The printed commands, run by a real shell: every word arrives whole, and nothing that a stranger wrote runs."""

import os
import random
import subprocess
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from mva.analysis.front_view import front_view
from mva.analysis.sweep_view import sweep_view
from mva.apps import resume
from mva.apps.command import conf_folder
from mva.report.sweep_page import _data
from mva.report.tables import export_command, next_steps
from mva.runs.run_folder import read_run
from mva.runs.sweep_folder import Outcome
from mva.shell import command_line, override
from mva.terminal import visible

PIECES = [
    "$(touch canary)", "`touch canary`", "; touch canary;", "\ntouch canary\n", "& touch canary &", "|", ">canary", "'", '"', "\\",
    "$", "${", "}", "${oc.env:HOME}", "!!", "~", "*", "#", " ", "\t", "\x1b[2J", "\u202e", "é", "a", "1e5", "=", ",", "[", "]", "(", "{",
]  # fmt: skip
EVIL = [
    "$(touch canary)",
    "`touch canary`",
    "'; touch canary; '",
    '"$(touch canary)"',
    "\\'$(touch canary)\n",
    "a\ntouch canary\n",
    "${oc.env:HOME}",
    "\x1b]0;x\x07\u202e",
    "1234e5678901",
    "123456789012",
    "null",
    "",
]


@pytest.fixture
def shell(tmp_path):
    """Run a line in bash, in an empty folder, with mva's commands replaced by a program that gives its words back."""
    programs, folder = tmp_path / "bin", tmp_path / "empty"
    programs.mkdir()
    folder.mkdir()
    for name in ("mva", "mva-export", "mva-explore", "mva-serve", "mva-judge"):
        (programs / name).write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
        (programs / name).chmod(0o755)
    settings = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def run(line):
        assert visible(line) == line, "a terminal would alter the line"
        done = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=settings, capture_output=True, check=True, timeout=20
        )
        assert list(folder.iterdir()) == [], "something ran"
        return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]

    return run


def read_by_hydra(words):
    """What the configuration holds after these overrides."""
    overrides = OverridesParser.create().parse_overrides(words)
    tree = OmegaConf.create({parsed.key_or_group: parsed.value() for parsed in overrides})
    return OmegaConf.to_container(tree, resolve=True)


def mixed(count):
    numbers = random.Random(0)
    return ["".join(numbers.choices(PIECES, k=numbers.randrange(6))) for _ in range(count)]


def test_arbitrary_words_arrive_whole(shell):
    words = [*EVIL, *mixed(500), "\udcff", "100% é 👩\u200d👧"]
    assert shell(command_line(["mva", *words])) == words


def test_arbitrary_texts_are_what_hydra_reads():
    plain = ["".join(random.Random(seed).choices("aef019._/:-", k=5)) for seed in range(500)]
    for text in [*EVIL, *mixed(1500), *plain]:
        assert read_by_hydra([override("run", text)]) == {"run": text}


@pytest.mark.parametrize("text", EVIL)
def test_a_text_comes_through_the_whole_configuration(text):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        assert compose("config", [override("run", text)]).run == text


@pytest.mark.parametrize("text", ["outputs/default/2026-11-26_10-00-00", "3fa90c12de45", "penalty.strength"])
def test_what_needs_no_quotes_has_none(text):
    assert command_line([override("run", text)]) == f"run={text}"


@pytest.fixture(params=["a b,c=1 $(touch canary)", "it's `touch canary`", "\x1b[2J\nx", "${oc.env:HOME}"])
def folder(request, make_run_folder, tmp_path):
    return make_run_folder(tmp_path / request.param, 2)


@pytest.mark.parametrize("candidate", EVIL)
def test_the_export_command_of_any_id(shell, make_run_folder, tmp_path, candidate):
    run = read_run(make_run_folder(tmp_path / "run", 2))
    words = shell(export_command(run, candidate))
    assert read_by_hydra(words) == {"run": str(run.folder), "candidate": candidate}


def test_the_commands_that_a_run_ends_with(shell, folder):
    run = read_run(folder)
    for line in next_steps(run, front_view(run)):
        if "run=" in line:
            assert read_by_hydra(shell(line))["run"] == str(folder)


def test_the_command_that_continues_a_run(shell, folder):
    resume.remember("hydra.run.dir", str(folder))
    typed = ["run=$(touch canary)", "value.names=[a,'b c']"]
    *words, last = shell(resume.stop_message(["mva", *typed]).partition("\n")[2])
    assert words == typed
    assert read_by_hydra([last]) == {"hydra.run.dir": str(folder)}


@pytest.mark.parametrize("candidate", ["0818ea7e5fee", *EVIL])
def test_the_pieces_of_the_sweep_pages_command(shell, make_run_folder, tmp_path, candidate):
    sweep = tmp_path / "sweep"
    Outcome("run", 0, [], state="finished").write(make_run_folder(sweep / "candidate=ID $(touch canary)", 2))
    (front,) = sweep_view(sweep).fronts
    (job,) = front.jobs
    odd = replace(job.view.candidates[0], id=candidate)
    data = _data(replace(job, view=replace(job.view, candidates=(odd,))))
    before, after = data["command"]
    line = f"{before} {data['words'].get(candidate, f'candidate={candidate}')} {after}"
    assert read_by_hydra(shell(line)) == {"run": str(job.run.folder), "candidate": candidate}
