"""Sweeps and searches that are killed resume to what an undisturbed one leaves."""

import signal

import pytest

SWEEP = ("-m", "penalty.strength=0,10", "hydra.sweep.dir=swept")
# The first trial is the configuration as it stands, the second a proposal.
SEARCH = (
    "tune.trials=2", "tune.startup=1", "tune.space.adapter=null", "tune.space.trainer=null",
    "tune.space.penalty.strength.choices=[0.5]", "hydra.run.dir=search",
)  # fmt: skip
COMMANDS = {"sweep": (SWEEP, "run", "swept"), "search": (SEARCH, "tune", "search")}


@pytest.fixture(scope="module", params=list(COMMANDS))
def whole(request, make_apps):
    """A command, and what it leaves when nothing disturbs it."""
    words, app, folder = COMMANDS[request.param]
    apps = make_apps()
    ended = apps(*words, *apps.small, app=app)
    assert ended["code"] == 0, apps.log
    return words, app, folder, apps.results(folder), ended["n_writes"]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.2, 0.4, 0.55, 0.7, 0.85, 0.97])
def test_a_killed_sweep_or_search_resumes_to_the_same_results(apps, whole, share):
    words, app, folder, expected, n_writes = whole
    stop = {"signal": signal.SIGKILL, "at_write": max(1, round(share * n_writes))}
    assert apps(*words, *apps.small, app=app, stop=stop)["code"] == -signal.SIGKILL, apps.log
    finished = apps.finished(folder)
    assert apps(*words, *apps.small, app=app)["code"] == 0, apps.log
    assert apps.results(folder) == expected
    assert not finished.made_again()
