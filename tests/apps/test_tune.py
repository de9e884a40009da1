"""Searches as `mva-tune` runs them, in this process, with a stand-in for `mva`; one that is killed, with the real one.

The stand-in's front is (s, 0), (0, s) with s = penalty.strength, on held-out prompts half of it. From the reference point
(-r, -r) its hypervolume is 2 r (s + r) - r^2; the nadir of s = 1 is r = 0.1, which makes it 0.2 s + 0.01.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from mva.apps import run, tune
from mva.apps.run_folder import open_run_folder
from mva.evaluation.ledger import Ledger
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.pareto.front import select_front
from mva.records import write_json

ONLY_STRENGTH = ("tune.space.adapter=null", "tune.space.trainer=null")
CHOICES = (*ONLY_STRENGTH, "penalty.strength=1", "tune.space.penalty.strength={choices:[1,2,3]}")
RANGE = (*ONLY_STRENGTH, "penalty.strength=1", "tune.space.penalty.strength={low:0.5,high:4,log:false}")


def write_run(folder, size, *, reference, key):
    values, ledger, scored = ("helpful", "harmless"), Ledger(folder), {}
    for split, s in (("validation", size), ("test", size / 2)):
        fronts = [((1.0, 0.0), (s, 0.0)), ((0.0, 1.0), (0.0, s))]
        scored[split] = [
            ScoredCandidate(
                Candidate(dict(zip(values, omega, strict=True))), dict(zip(values, scores, strict=True)),
                dict.fromkeys(values, 0.1), 6, split, 1.0,
            )
            for omega, scores in fronts
        ]  # fmt: skip
        ledger.add_scored(scored[split], key="k")
    front = select_front(scored["validation"], values=values, reference_point=reference)
    write_json(folder / "front.json", front.with_held_out(scored["test"]).to_json())
    reward = {"kind": "FittedHead", "key": key, "accuracy": 0.8, "low": 0.7, "high": 0.9, "n_pairs": 9}
    write_json(folder / "rewards.json", {"schema_version": 1, "rewards": dict.fromkeys(values, reward)})


class StandIn:
    """`mva` without models. `fail`, `stop`: strengths at which it raises an error, a KeyboardInterrupt."""

    def __init__(self):
        self.calls, self.fail, self.stop, self.keys = [], (), (), {}

    def __call__(self, config):
        strength = float(config.penalty.strength)
        self.calls.append(strength)
        folder = open_run_folder(Path(HydraConfig.get().runtime.output_dir), config)
        if strength in self.fail:
            raise RuntimeError("unlucky [number]")
        if strength in self.stop:
            raise KeyboardInterrupt
        (folder / "candidates.jsonl").unlink(missing_ok=True)
        point = config.evaluation.reference_point
        reference = point if point == "nadir" else OmegaConf.to_container(point)
        write_run(folder, strength, reference=reference, key=self.keys.get(strength, "k"))
        return 0.0


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    made = StandIn()

    def task(config):
        return made(config)

    task.__module__ = "mva.apps.run"
    monkeypatch.setattr(run, "main", task)
    return made


@pytest.fixture
def search(stand_in, monkeypatch):
    def start(*words, folder="F"):
        stand_in.calls.clear()
        monkeypatch.setattr(sys, "argv", ["mva-tune", *words, f"hydra.run.dir={folder}"])  # -m must come first
        try:
            tune.main()
        except SystemExit as ended:
            return ended.code, list(stand_in.calls)
        return 0, list(stand_in.calls)

    return start


def record(folder="F"):
    return json.loads(Path(folder, "tune.json").read_text())


def volumes(folder="F"):
    return {trial["settings"]["penalty.strength"]: trial["hypervolume"] for trial in record(folder)["trials"]}


def test_the_trial_with_the_largest_hypervolume_from_the_first_ones_reference_point_is_found(search, capsys):
    code, calls = search(*CHOICES, "tune.trials=3")
    assert code == 0
    assert calls[0] == 1  # the configuration as it stands comes first
    assert sorted(calls) == [1, 2, 3]
    assert record()["reference_point"] == pytest.approx({"helpful": -0.1, "harmless": -0.1})
    assert record()["reference_point_rule"] == "of trial 0, nadir: worst score minus 0.1 of the range"
    assert volumes() == pytest.approx({1: 0.21, 2: 0.41, 3: 0.61})
    held_out = {t["settings"]["penalty.strength"]: t["hypervolume_held_out"] for t in record()["trials"]}
    assert held_out == pytest.approx({1: 0.11, 2: 0.21, 3: 0.31})
    assert record()["best"]["command"] == "mva penalty.strength=3"
    said = " ".join(capsys.readouterr().err.split())  # a long sentence is broken where the terminal ends
    assert "optimistic, as the best of 3 noisy numbers" in said
    assert "it has 0.31, and the configuration as it stands (trial 0) 0.11 (on validation prompts 0.21)" in said


def test_the_sweeps_page_and_records_measure_from_the_same_point(search):
    search(*CHOICES, "tune.trials=3")
    jobs = json.loads(Path("F/sweep.json").read_text())["jobs"]
    assert [job["hypervolume_common"] for job in jobs] == [trial["hypervolume"] for trial in record()["trials"]]
    assert "of trial 0, nadir" in Path("F/report.html").read_text()
    assert Path("F/front.png").exists()


def test_a_given_reference_point_is_everyones(search):
    search(*CHOICES, "tune.trials=2", "evaluation.reference_point={helpful:-1,harmless:-1}")
    assert record()["reference_point_rule"] == "explicit"
    assert all(volume == pytest.approx(2 * s + 1) for s, volume in volumes().items())
    assert "evaluation.reference_point={helpful:-1,harmless:-1}" in shlex.split(record()["best"]["command"])


def test_a_stopped_search_goes_on_with_the_trial_that_was_stopped_and_ends_as_if_never_stopped(search, stand_in):
    assert search(*RANGE, "tune.trials=4", folder="whole")[0] == 0
    whole = list(volumes("whole"))
    stand_in.stop = (whole[2],)
    assert search(*RANGE, "tune.trials=4") == (130, whole[:3])
    assert [trial["status"] for trial in record()["trials"]] == ["finished", "finished", "unfinished"]
    stand_in.stop = ()
    assert search(*RANGE, "tune.trials=4") == (0, whole[2:])
    assert volumes() == volumes("whole")


def test_the_same_command_again_repeats_nothing_and_more_trials_are_added(search):
    assert len(search(*RANGE, "tune.trials=2")[1]) == 2
    assert search(*RANGE, "tune.trials=2") == (0, [])
    before = volumes()
    _, added = search(*RANGE, "tune.trials=3", "tracking=local")
    assert len(added) == 1
    assert added[0] not in before
    assert list(volumes()) == [*before, *added]


def test_a_failing_trial_is_recorded_stops_no_other_and_is_tried_again(search, stand_in, capsys):
    stand_in.fail = (2,)
    code, calls = search(*CHOICES, "tune.trials=3")
    assert (code, sorted(calls)) == (1, [1, 2, 3])
    assert volumes() == {1: pytest.approx(0.21), 2: None, 3: pytest.approx(0.61)}
    said = capsys.readouterr().err
    (failed,) = [trial for trial in record()["trials"] if trial["status"] == "failed"]
    assert f"Trial {failed['number']} failed: RuntimeError: unlucky [number]" in said
    assert record()["best"]["settings"] == {"penalty.strength": 3}
    stand_in.fail = ()
    assert search(*CHOICES, "tune.trials=3") == (0, [2])
    assert volumes()[2] == pytest.approx(0.41)


def test_if_all_fail_the_search_says_so_and_has_no_best(search, stand_in, capsys):
    stand_in.fail = (1, 2, 3)
    assert search(*CHOICES, "tune.trials=3")[0] == 1
    assert record()["best"] is None
    assert capsys.readouterr().err.count("failed: RuntimeError") >= 3


def test_a_space_that_holds_no_more_ends_the_search(search, capsys):
    assert len(search(*CHOICES, "tune.trials=9")[1]) == 3
    assert "the space holds no more trials" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tune.space.penalty.strenght={low:1,high:2}"],
         "tune.space names penalty.strenght, which the configuration does not have: did you mean penalty.strength?"),
        (["tune.space.adapter.rank.choices=[4,0]"], "tune.space.adapter.rank: adapter.rank=0 is refused: "),
        (["tune.space.estimator={choices:[hsic,nonsense]}"],
         "tune.space.estimator: estimator=nonsense is refused: "),
        (["tune.space.penalty.strength=5"], "tune.space.penalty.strength is 5: give "),
        (["tune.space.penalty.strength.hihg=5"], "tune.space.penalty.strength is {"),
        (["tune.space.penalty.strength={low:5,high:1}"], "tune.space.penalty.strength is {"),
        (["tune.space.penalty.strength={low:0,high:1}"], "tune.space.penalty.strength is {"),  # log
        ([*ONLY_STRENGTH, "tune.space.penalty=null"], "tune.space is empty: say what to search"),
        (["tune.sampler=nsga"], "tune.sampler is 'nsga': choose tpe, gp or random."),
        (["tune.trials=0"], "tune.trials is 0: choose a whole number of at least 1."),
    ],
)  # fmt: skip
def test_what_can_not_be_searched_is_refused_in_one_sentence_before_the_first_trial(search, capsys, words, sentence):
    assert search(*words) == (2, [])
    assert sentence in capsys.readouterr().err


def test_another_space_or_configuration_does_not_go_on_in_the_same_folder(search, capsys):
    search(*CHOICES, "tune.trials=1")
    for words in (RANGE, (*CHOICES, "seed=1")):
        assert search(*words, "tune.trials=2") == (2, [])
        assert "F holds a search of another configuration or space" in capsys.readouterr().err


def test_trials_that_were_scored_by_different_rewards_are_not_compared(search, stand_in, capsys):
    stand_in.keys = {2: "other", 3: "other"}
    code, calls = search(*CHOICES, "tune.trials=3")
    assert (code, len(calls)) == (2, 2)
    assert "were scored by different rewards" in capsys.readouterr().err


def test_a_multirun_of_searches_is_refused(search, monkeypatch, capsys):
    assert search("-m", "hydra.sweep.dir=M", "seed=0,1")[1] == []
    assert "mva-tune starts its jobs itself" in capsys.readouterr().err


def test_optuna_reads_the_study(search, stand_in):
    stand_in.fail = (2,)
    search(*CHOICES, "tune.trials=3")
    storage = optuna.storages.RDBStorage("sqlite:///F/study.db")
    study = optuna.load_study(study_name="mva-tune", storage=storage)
    found = {trial.params["penalty.strength"]: trial.value for trial in study.trials}
    storage.remove_session()
    storage.engine.dispose()
    assert found == volumes()


@pytest.mark.slow
def test_a_killed_search_of_real_runs_goes_on(tmp_path):
    words = [
        *("debug=smoke", "tracking=local", "report.forms=[]", "penalty.baseline=false", "search.levels=2"),
        *("tune.trials=3", "tune.space.adapter=null", f"paths.cache={tmp_path / 'cache'}", "hydra.run.dir=F"),
    ]
    command = [sys.executable, "-m", "mva.apps.tune", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while len(list(tmp_path.glob("F/00*/outcome.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (first,) = tmp_path.glob("F/000_*/outcome.json")
    before = first.stat().st_mtime_ns
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert first.stat().st_mtime_ns == before
    assert [trial["status"] for trial in record(tmp_path / "F")["trials"]] == ["finished"] * 3
    assert len(list(tmp_path.glob("F/00*"))) == 3
