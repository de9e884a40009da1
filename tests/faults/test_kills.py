"""A run that is stopped anywhere resumes to the bits of an undisturbed run, and makes nothing again that was finished."""

import signal

import pytest

from mva.models.sources.smollm2_wheel import WHEEL

RUN = "hydra.run.dir=run"
PAIR = '{"prompt": "How are you?", "chosen": "Fine, thank you.", "rejected": "No."}\n'


def check_resumes(apps, undisturbed, stop, *, code):
    """Stop a run, resume it, and compare it with the undisturbed one."""
    ended = apps(*apps.small, RUN, stop=stop)
    assert ended["code"] == code, apps.log
    finished = apps.finished()
    assert apps(*apps.small, RUN)["code"] == 0, apps.log
    assert "Traceback" not in apps.log
    assert apps.results() == undisturbed.results
    assert apps.stored() == undisturbed.stored
    assert not finished.made_again()
    assert not list(apps.home.rglob(".*.tmp"))


def place(undisturbed, share):
    return max(1, round(share * undisturbed.n_writes))


# Before operations that change files: between them nothing on the disk differs.
@pytest.mark.parametrize("share", [0.03, 0.35, 0.62, 0.9])
def test_a_run_killed_at_a_write_resumes_to_the_same_bits(apps, undisturbed, share):
    check_resumes(apps, undisturbed, {"signal": signal.SIGKILL, "at_write": place(undisturbed, share)}, code=-9)


@pytest.mark.slow
@pytest.mark.parametrize("share", [(k + 0.5) / 20 for k in range(20)])
def test_a_run_killed_at_twenty_writes_resumes_to_the_same_bits(apps, undisturbed, share):
    check_resumes(apps, undisturbed, {"signal": signal.SIGKILL, "at_write": place(undisturbed, share)}, code=-9)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.85])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_asked_to_stop_says_how_to_resume_and_resumes(apps, undisturbed, number, code, share):
    check_resumes(apps, undisturbed, {"signal": number, "at_write": place(undisturbed, share)}, code=code)
    assert "hydra.run.dir=" in apps.log


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [-86400.0, 10 * 365 * 86400.0])
def test_a_clock_that_jumps_changes_nothing(apps, undisturbed, seconds):
    stop = {"clock": seconds, "at_write": place(undisturbed, 0.3)}
    assert apps(*apps.small, RUN, stop=stop)["code"] == 0, apps.log
    assert apps(*apps.small, RUN)["code"] == 0, apps.log
    assert apps.results() == undisturbed.results
    assert apps.stored() == undisturbed.stored


@pytest.fixture(scope="module")
def converted(make_apps):
    """The SmolLM2 wheel's model, converted without a disturbance: the wheel, the entries, the number of changes."""
    fetched, apps = make_apps(), make_apps()
    for home in (fetched, apps):
        apps.env["MVA_SMOLLM2_WHEEL"] = str(fetched.cache / "wheels" / WHEEL)
        ended = convert(home)
        assert ended["code"] == 0, home.log
    return apps.env, apps.stored(), ended["n_writes"]


def convert(apps, **options):
    """Let mva-data look at a pair with SmolLM2's tokens, for which the model is converted."""
    (apps.home / "pairs.jsonl").write_text(PAIR, encoding="utf-8")
    return apps("pairs.jsonl", "model=smollm2", app="data", **options)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_model_whose_conversion_was_killed_is_converted_again(apps, converted, share):
    apps.env, entries, n_writes = converted
    stop = {"signal": signal.SIGKILL, "at_write": max(1, round(share * n_writes))}
    assert convert(apps, stop=stop)["code"] == -signal.SIGKILL, apps.log
    assert apps.stored() == {}
    assert convert(apps)["code"] == 0, apps.log
    assert apps.stored() == entries
    # What the killed conversion wrote is gone: half a gigabyte.
    assert [path.name for path in (apps.cache / "models").iterdir() if path.is_dir()] == [
        name.split("/")[1] for name in entries
    ]
