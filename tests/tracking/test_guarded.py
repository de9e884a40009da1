"""A tracker's trouble is said once, switches it off, and never reaches the run."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from mva.tracking.base import RunIdentity
from mva.tracking.composite import Composite
from mva.tracking.guarded import Guarded
from mva.tracking.local import Local

RUN = RunIdentity(Path("outputs/x"), "x", "group", "run", {})
CALLS = {
    "log": ({"train/a/loss": 0.5}, 1),
    "table": ("candidates", ["id"], [["a"]]),
    "figure": ("front", Path("front.png")),
    "plot": ("front", object()),
    "page": ("report", Path("report.html")),
    "artifact": ("front", "front", [Path("front.json")]),
    "summary": ({"hypervolume": 1.0},),
}


class Failing:
    """A tracker whose every call is recorded, and that fails where it is told to."""

    def __init__(self, *where):
        self.where = where
        self.calls = []
        self.ended_with = []

    def call(self, name):
        self.calls.append(name)
        if name in self.where:
            raise ConnectionError(f"no network\nin {name}")

    def __getattr__(self, name):
        return lambda *_arguments, **_named: self.call(name)

    @contextmanager
    def start(self, run):
        self.call("start")
        try:
            yield self
        except BaseException as error:
            self.ended_with.append(error)
            raise
        finally:
            self.call("finish")


def use(spec, warnings):
    with Guarded(spec, RUN, warn=warnings.append) as tracker:
        for name, arguments in CALLS.items():
            getattr(tracker, name)(*arguments)
    return tracker


def log_and_raise(guarded, error):
    with guarded as tracker:
        tracker.log({}, 1)
        raise error


def test_a_tracker_without_trouble_gets_every_call():
    spec, warnings = Failing(), []
    assert not use(spec, warnings).failed
    assert spec.calls == ["start", *CALLS, "finish"]
    assert warnings == []


@pytest.mark.parametrize("where", ["start", *CALLS, "finish"])
def test_trouble_anywhere_is_said_in_one_line_that_names_tracker_and_reason(where):
    spec, warnings = Failing(where), []
    assert use(spec, warnings).failed
    (line,) = warnings
    assert f"Failing is switched off: its {where} failed (ConnectionError: no network in {where})" in line
    assert "mva-report run=outputs/x report.mirror=true sends it later" in line
    reached = ["start", *CALLS, "finish"].index(where)
    after = [] if where in ("start", "finish") else ["finish"]
    assert spec.calls == ["start", *CALLS, "finish"][: reached + 1] + after


def test_trouble_that_follows_trouble_is_not_said_again():
    spec, warnings = Failing("log", "finish"), []
    use(spec, warnings)
    assert len(warnings) == 1


@pytest.mark.parametrize("where", [(), ("log",), ("finish",), ("log", "finish")])
@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), SystemExit(143)])
def test_the_runs_own_exception_reaches_the_tracker_and_gets_out(where, error):
    spec, warnings = Failing(*where), []
    with pytest.raises(type(error)) as caught:
        log_and_raise(Guarded(spec, RUN, warn=warnings.append), error)
    assert caught.value is error
    assert spec.ended_with == [error]
    assert len(warnings) == bool(where)


def test_the_other_trackers_of_a_composite_go_on(tmp_path, capsys):
    run = RunIdentity(tmp_path, "x", "group", "run", {})
    first, last = Failing("start"), Failing("summary", "finish")
    with Composite((first, Local(), last)).start(run) as tracker:
        tracker.log({"train/a/loss": 0.5}, 1)
        tracker.summary({"hypervolume": 1.0})
        tracker.summary({"front_points": 2})
    assert '"front_points": 2' in (tmp_path / "summary.json").read_text()
    assert last.calls == ["start", "log", "summary", "finish"]
    warned = " ".join(capsys.readouterr().err.split())
    assert warned.count("is switched off") == 2


def test_a_folder_that_cannot_be_written_switches_the_local_files_off(tmp_path, capsys):
    missing = RunIdentity(tmp_path / "not there", "x", "group", "run", {})
    with Composite((Local(),)).start(missing) as tracker:
        tracker.log({"train/a/loss": 0.5}, 1)
    assert "Local is switched off: its start failed (FileNotFoundError" in capsys.readouterr().err
