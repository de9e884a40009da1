"""Attacks by way of the nodes that Hydra itself instantiates: each runs the whole of Hydra, with a harmless task."""

import contextlib
import json
import sys

import pytest
import yaml

from mva.apps import command, explore, export, judge, report, run, serve, train, tune
from mva.apps.command import app
from mva.apps.hydra_nodes import LAUNCHERS

JOBLIB, LOCAL, SLURM = list(LAUNCHERS)[1:]
OUT = "OUT"  # stands for a folder outside of the run's; whatever appears in it is a success of the attack


def touch(**node):
    return {"callbacks": {"x": node}}


def logged(kind="job_logging", **handler):
    return {kind: {"handlers": {"h": handler}, "root": {"handlers": ["h"]}}}


COPY = {"_target_": "shutil.copyfile", "src": "/etc/hostname", "dst": f"{OUT}/copied"}
OPENED = {"_target_": "io.open", "file": f"{OUT}/opened", "mode": "w"}
STRANGER = {"class": "logging.FileHandler", "filename": f"{OUT}/log"}

ATTACKS = {
    "pickle-torch": touch(_target_="torch.load", f=f"{OUT}/../evil.pt", weights_only=False),
    "pickle-pandas": touch(_target_="pandas.read_pickle", filepath_or_buffer=f"{OUT}/../evil.pkl"),
    "pickle-joblib": touch(_target_="joblib.load", filename=f"{OUT}/../evil.pkl"),
    "pickle-numpy": touch(_target_="numpy.load", file=f"{OUT}/../evil.pkl", allow_pickle=True),
    "copyfile": touch(**COPY),
    "move": touch(_target_="shutil.move", src=f"{OUT}/../evil.pkl", dst=f"{OUT}/moved"),
    "archive": touch(_target_="shutil.make_archive", base_name=f"{OUT}/packed", format="zip", root_dir="/etc/apt"),
    "io-open": touch(**OPENED),
    "codecs-open": touch(_target_="codecs.open", filename=f"{OUT}/opened", mode="w"),
    "gzip": touch(_target_="gzip.open", filename=f"{OUT}/opened", mode="w"),
    "bz2": touch(_target_="bz2.BZ2File", filename=f"{OUT}/opened", mode="w"),
    "sqlite": touch(_target_="sqlite3.connect", database=f"{OUT}/database"),
    "numpy-save": touch(_target_="numpy.save", file=f"{OUT}/array", arr=[1]),
    "makedirs": touch(_target_="os.makedirs", name=f"{OUT}/made"),
    "popen": touch(_target_="subprocess.Popen", args=["touch", f"{OUT}/run"]),
    "system": touch(_target_="os.system", command=f"touch {OUT}/run"),
    "runpy": touch(_target_="runpy.run_path", path_name=f"{OUT}/../evil.py"),
    "tempfile": touch(_target_="tempfile.mkdtemp", dir=OUT),
    "path-method": touch(_target_="pathlib.Path.touch", _args_=[{"_target_": "pathlib.Path", "_args_": [f"{OUT}/run"]}]),
    "partial": touch(_target_="functools.partial", _args_=["${oc.env:HOME}"], x=OPENED),
    "hydras-own-callback": touch(_target_="hydra.experimental.callbacks.PickleJobInfoCallback"),
    "our-class-that-is-no-callback": touch(_target_="mva.models.store.Store", root=OUT),
    "argument-of-the-shipped-callback": {"callbacks": {"sweep": {"argument": OPENED}}},
    "positional-argument-of-it": {"callbacks": {"sweep": {"_args_": [OPENED]}}},
    "no-target-but-a-nested-one": {"callbacks": {"x": {"deep": [{"deeper": OPENED}]}}},
    "list-as-a-callback": {"callbacks": {"x": [OPENED]}},
    "target-by-interpolation": touch(_target_="${experiment_name}"),
    "node-by-interpolation": {"callbacks": {"x": "${stolen}"}},
    "target-is-no-text": touch(_target_=["io.open"], file=f"{OUT}/opened", mode="w"),
    "launcher-argument": {"launcher": {"_target_": JOBLIB, "n_jobs": OPENED}},
    "launcher-by-interpolation": {"launcher": {"_target_": JOBLIB, "n_jobs": "${stolen}"}},
    "launcher-elsewhere": {"launcher": {"_target_": LOCAL, "submitit_folder": f"{OUT}/jobs"}},
    "launcher-of-files": {"launcher": {"_target_": JOBLIB, "temp_folder": f"{OUT}"}},
    "launcher-unknown": {"launcher": {"_target_": "io.open", "file": f"{OUT}/opened", "mode": "w"}},
    "slurm-shell-lines": {"launcher": {"_target_": SLURM, "setup": [f"touch {OUT}/run"]}},
    "slurm-line-break": {"launcher": {"_target_": SLURM, "partition": f"a\ntouch {OUT}/run"}},
    "slurm-parameters": {"launcher": {"_target_": SLURM, "additional_parameters": {"wrap": f"touch {OUT}/run"}}},
    "slurm-other-setting": {"launcher": {"_target_": LOCAL, "python": f"touch {OUT}/run;"}},
    "sweeper": {"sweeper": OPENED},
    "sweeper-argument": {"sweeper": {"params": {"seed": OPENED}}},
    "sweeper-by-interpolation": {"sweeper": {"params": "${stolen}"}},
    "sweeper-sets-hydras-keys": {"mode": "MULTIRUN", "sweeper": {"params": {"+hydra.callbacks.x._target_": "io.open"}}},
    "file-handler": logged(**STRANGER),
    "file-handler-of-hydra": logged("hydra_logging", **STRANGER),
    "file-handler-by-interpolation": logged(**{**STRANGER, "filename": "${experiment_name}"}),
    "rotating": logged(**{"class": "logging.handlers.RotatingFileHandler", "filename": f"{OUT}/log"}),
    "socket": logged(**{"class": "logging.handlers.SocketHandler", "host": "localhost", "port": 9}),
    "handler-factory": logged(**{"()": "os.open", "path": f"{OUT}/opened", "flags": 577}),
    "handler-is-a-function": logged(**{"class": "io.open", "file": f"{OUT}/opened", "mode": "w"}),
    "stream-is-an-object": logged(**{"class": "logging.StreamHandler", "stream": "ext://antigravity.fly"}),
    "stream-attribute": logged(**{"class": "logging.StreamHandler", ".": {"terminator": "x"}}),
    "level-imports": logged(**{"class": "logging.NullHandler", "level": "ext://antigravity.fly"}),
    "level-within": logged(**{"class": "logging.NullHandler", "level": "cfg://handlers.h.class"}),
    "formatter-factory": {"job_logging": {"formatters": {"f": {"()": "io.open", "file": f"{OUT}/f", "mode": "w"}}}},
    "formatter-imports": {"job_logging": {"formatters": {"simple": {"format": "ext://antigravity.fly"}}}},
    "formatter-class": {"job_logging": {"formatters": {"simple": {"class": "io.open"}}}},
    "filter-factory": {"job_logging": {"filters": {"f": {"()": "os.makedirs", "name": f"{OUT}/made"}}}},
    "logger-of-filters": {"job_logging": {"loggers": {"x": {"filters": ["f"]}}}},
    "queue": logged(**{"class": "logging.handlers.QueueHandler", "queue": "io.open"}),
    "logging-by-interpolation": {"job_logging": "${stolen}"},
    "handlers-by-interpolation": {"job_logging": {"handlers": "${stolen}"}},
    "log-name": {"job": {"name": f"{OUT}/log"}},
    "log-name-up": {"job": {"name": "../OUT/log"}},
    "log-name-by-interpolation": {"job": {"name": "${experiment_name}"}},
    "output-subfolder": {"output_subdir": f"{OUT}/hydra"},
    "output-subfolder-up": {"output_subdir": "../OUT/hydra"},
    "plugins-by-environment": {"job": {"env_set": {"MVA_PLUGINS": "io"}}},
    "path-by-environment": {"job": {"env_set": {"PATH": OUT}}},
    "secrets-into-the-record": {"job": {"env_copy": ["HOME"]}},
    "words-of-the-command-line": {"overrides": {"hydra": ["hydra.job.env_set.PATH=x"]}},
    "task-words-of-the-command-line": {"overrides": {"task": ["seed=3"]}},
    "job-folder": {"mode": "MULTIRUN", "sweep": {"subdir": f"{OUT}/job"}},
    "job-folder-up": {"mode": "MULTIRUN", "sweep": {"subdir": "a/../../OUT/job"}},
}  # fmt: skip


@pytest.fixture
def attacked(tmp_path, monkeypatch, capfd):
    """Start a command whose configuration is a stranger's; returns its exit status, its words, what it wrote outside."""
    monkeypatch.chdir(tmp_path)
    outside, conf = tmp_path / "OUT", tmp_path / "conf"
    for folder in (outside, conf / "experiment", conf / "hydra" / "callbacks"):
        folder.mkdir(parents=True)

    def start(*words, node=None, main=None, placed="experiment/evil"):
        tree = json.loads(json.dumps(node or {}).replace(f'"{OUT}', f'"{outside}').replace(f" {OUT}", f" {outside}"))
        group = next(iter(tree), None)
        if (
            group in ("launcher", "sweeper") and "params" not in tree[group]
        ):  # as a group's option there is no schema to hold it to
            (conf / "hydra" / group).mkdir()
            (conf / "hydra" / group / "evil.yaml").write_text(yaml.safe_dump(tree[group]))
            words, tree = (*words, f"hydra/{group}=evil"), {}
        stolen = {"_target_": "io.open", "file": f"{outside}/opened", "mode": "w"}
        body = yaml.safe_dump({"hydra": tree, "stolen": stolen, "experiment_name": "io.open"})
        (conf / f"{placed}.yaml").write_text(f"# @package _global_\n{body}")
        standard = ["hydra.run.dir=R", "hydra.sweep.dir=S", "tracking=local"]
        monkeypatch.setattr(sys, "argv", ["mva", "-cd", str(conf), *words, *standard])
        status = 0
        try:
            (main or app(lambda config: None))()
        except SystemExit as ended:
            status = ended.code
        printed = capfd.readouterr()
        return status, printed.out + printed.err, sorted(path.name for path in outside.iterdir())

    return start


@pytest.mark.parametrize("name", ATTACKS)
def test_a_strangers_experiment_file_runs_no_code_and_writes_nothing_outside(attacked, name):
    status, printed, outside = attacked("experiment=evil", node=ATTACKS[name])
    assert outside == []
    assert status not in (0, None)
    assert printed.startswith(("ForbiddenTarget: ", "BadName: "))
    assert "hydra" in printed


@pytest.mark.filterwarnings("ignore")  # what Hydra says of callbacks that are none
@pytest.mark.parametrize(
    "name", ["copyfile", "io-open", "codecs-open", "numpy-save", "log-name-up", "output-subfolder", "job-folder"]
)
def test_without_the_guard_these_attacks_succeed(attacked, monkeypatch, name):
    monkeypatch.setattr(command, "guarded", lambda words: contextlib.nullcontext())
    assert attacked("experiment=evil", node=ATTACKS[name])[2] != []


@pytest.mark.parametrize("multirun", [["-m"], []])
@pytest.mark.parametrize("words", [
    ["-cn", "evil"],
    ["hydra/callbacks=evil"],
    ["+hydra/callbacks@hydra.callbacks.y=evil"],
    ["experiment@hydra.callbacks.y=evil"],
    ["hydra/callbacks@_global_=evil"],
    ["+hydra.callbacks.x={_target_:io.open,file:OUT/opened,mode:w}"],
    ["+hydra.callbacks.x._target_=io.open", "+hydra.callbacks.x.file=OUT/opened", "+hydra.callbacks.x.mode=w"],
    ["++hydra.callbacks.sweep={_target_:io.open,file:OUT/opened,mode:w}"],
    ["+hydra.callbacks.x=${stolen}", "+stolen={_target_:io.open,file:OUT/opened,mode:w}"],
])  # fmt: skip
def test_it_does_not_matter_where_a_node_comes_from(attacked, words, multirun):
    for placed in ("evil", "hydra/callbacks/evil", "experiment/evil"):
        status, _, outside = attacked(*multirun, *words, node=touch(**OPENED), placed=placed)
        assert status not in (0, None)
        assert outside == []


@pytest.mark.parametrize(
    "main", [run.main, train.main, explore.main, report.main, export.main, judge.main, serve.main, tune.main]
)
def test_every_app_refuses_them(attacked, main):
    status, printed, outside = attacked("experiment=evil", node=touch(**OPENED), main=main)
    assert (status, outside) == (2, [])
    assert "ForbiddenTarget: hydra.callbacks.x names 'io.open'" in printed


@pytest.mark.parametrize(
    "node", [logged(**STRANGER), {"job": {"env_set": {"MVA_PLUGINS": "io"}}}, {"sweep": {"subdir": "../x"}}]
)
def test_no_job_of_a_sweep_starts_if_the_file_of_a_later_one_is_refused(attacked, node, tmp_path):
    status, printed, outside = attacked("-m", "experiment=paper_hh,evil", node=node)
    assert status not in (0, None)
    assert outside == []
    assert "hydra." in printed
    assert not list((tmp_path / "S").rglob("outcome.json"))


@pytest.mark.parametrize("words", [
    ["--experimental-rerun", "evil.pkl"],
    ["--experimental-re=evil.pkl"],
    ["hydra.searchpath=[pkg://antigravity]"],
    ["hydra.searchpath=[pkg://this/conf]"],
    ["-cp", "pkg://antigravity"],
])  # fmt: skip
def test_nothing_is_unpickled_or_imported_for_the_command_line(attacked, words):
    status, printed, _ = attacked(*words)
    assert status == 2
    assert printed.startswith("ForbiddenTarget: ")
    assert "antigravity" not in sys.modules


def test_a_search_path_in_the_main_file_imports_nothing(attacked):
    status, printed, _ = attacked("-cn", "evil", node={"searchpath": ["pkg://antigravity"]}, placed="evil")
    assert status == 2
    assert "pkg://antigravity" in printed
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("words", [
    ["hydra/job_logging=none"],
    ["hydra/job_logging=stdout", "hydra/hydra_logging=disabled"],
    ["hydra/job_logging=disabled", "+hydra.job_logging.loggers.x.level=DEBUG"],
    ["hydra.job_logging.root.level=ERROR", "hydra.verbose=false"],
    ["hydra/job_logging=default", "hydra.job.name=mine"],
    ["+hydra.job.env_set.X=1", "hydra.output_subdir=null"],
    ["hydra.job.env_copy=[HOME]"],
    ["hydra/launcher=joblib", "hydra.launcher.n_jobs=4", "hydra.launcher.temp_folder=/tmp/x"],
    ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=9", "hydra.launcher.submitit_folder=/tmp/x/%j"],
    ["hydra/launcher=submitit_slurm", "hydra.launcher.setup=[module load x]", "hydra.launcher.partition=long/x"],
    ["hydra/launcher=submitit_slurm", "+hydra.launcher.additional_parameters={mail-user: a@b}"],
    ["experiment=sweep_penalty", "hydra.mode=RUN"],
])  # fmt: skip
def test_what_the_command_line_may_say_goes_through(attacked, words):
    status, printed, _ = attacked(*words)
    assert (status, printed) == (0, "")


@pytest.mark.parametrize("node", [
    {"launcher": {"_target_": SLURM, "partition": "gpu", "gpus_per_node": 2, "timeout_min": "${seed}"}},
    {"sweeper": {"params": {"seed": "1,2", "penalty.strength": "range(1,3)"}}},
    {"sweeper": {"params": {"seed": "${experiment_name}"}}},
    {"job_logging": {"formatters": {"simple": {"format": "%(message)s"}}, "root": {"level": "ERROR"}}},
    {"sweep": {"subdir": "${hydra.job.num}"}, "job": {"chdir": False}},
])  # fmt: skip
def test_what_a_users_own_file_may_say_goes_through(attacked, node):
    status, printed, _ = attacked("experiment=evil", node=node)
    assert (status, printed) == (0, "")


def test_a_plug_in_package_is_allowed_by_name(attacked, monkeypatch):
    callback = touch(_target_="hydra.experimental.callback.Callback")
    assert attacked("experiment=evil", node=callback)[0] == 2
    monkeypatch.setenv("MVA_PLUGINS", "other,hydra")
    assert attacked("experiment=evil", node=callback)[0] == 0
    nested = touch(_target_="hydra.experimental.callback.Callback", argument=OPENED)
    status, printed, outside = attacked("experiment=evil", node=nested)
    assert (status, outside) == (2, [])
    assert "io.open" in printed


def test_a_log_handler_of_a_plug_in_package_takes_plain_settings(attacked, monkeypatch):
    handler = {"class": "logging.handlers.BufferingHandler", "capacity": 3}
    words = ("hydra/job_logging=stdout", "experiment=evil")
    assert attacked(*words, node=logged(**handler))[0] == 2
    monkeypatch.setenv("MVA_PLUGINS", "logging")
    assert attacked(*words, node=logged(**handler))[0] == 0
    assert attacked(*words, node=logged(**{**handler, "capacity": "ext://antigravity.fly"}))[0] == 2
