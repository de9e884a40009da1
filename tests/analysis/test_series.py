"""What the figures draw, of a run and of sweeps, against candidates that are known."""

from dataclasses import replace

import pytest

from mva.analysis.series import JOINT, is_one_front, series_of
from mva.analysis.sweep_view import of_one_run, sweep_view
from mva.runs.run_folder import read_run
from mva.runs.sweep_folder import Outcome


@pytest.fixture
def run(tmp_path, make_run_folder):
    make_run_folder(tmp_path / "run", 2)
    return read_run(tmp_path / "run")


@pytest.fixture
def two_jobs(tmp_path, make_run_folder):
    for number in range(2):
        make_run_folder(tmp_path / f"job {number}", 2, n_candidates=8 + number)
        Outcome("run", number, [f"strength={number}"], state="finished").write(tmp_path / f"job {number}")
    return sweep_view(tmp_path).fronts[0]


def test_a_run_is_a_sweep_of_one_job_with_the_fronts_own_numbers(run):
    front = of_one_run(run)
    assert front.hypervolume == run.front.hypervolume
    assert front.reference_point == run.front.reference_point
    assert {c.id for _, c in front.members} == {point.id for point in run.front.points}


def test_a_run_is_drawn_by_kind_and_every_candidate_once_beside_the_fronts(run):
    drawn = {series.style: series for series in series_of(of_one_run(run))}
    assert next(iter(drawn)) == "candidate"
    front = {c.id for c in drawn["front"].candidates}
    assert front == {point.id for point in run.front.points}
    assert drawn["front"].held_out
    assert drawn["front"].names == ()
    assert sorted(drawn["single vector"].names) == ["harmless", "helpful"]
    assert [c.label for c in drawn["base"].candidates] == ["base"]
    everyone = [c.id for series in drawn.values() for c in series.candidates]
    assert {line["id"] for line in run.candidates} == set(everyone)
    assert len(everyone) - len(set(everyone)) == len(front & {c.id for c in drawn["single vector"].candidates})


def test_a_sweep_is_drawn_by_setting(two_jobs):
    drawn = series_of(two_jobs)
    assert not is_one_front(two_jobs)
    assert [(series.label, series.style, len(series.candidates)) for series in drawn] == [
        ("strength=0", 0, 8), ("strength=1", 1, 9),
    ]  # fmt: skip
    assert [c for series in drawn for c, joint in zip(series.candidates, series.joint, strict=True) if joint] == [
        c for job in two_jobs.jobs for c in job.on_joint_front
    ]
    assert [len(series.borders) for series in drawn] == [1, 1]


def test_jobs_of_single_candidates_are_points_of_one_front_and_named_by_their_coefficients(two_jobs):
    def only(job, place, *, joint):
        return replace(job, view=replace(job.view, candidates=job.view.candidates[place : place + 1]), joint=(joint,))

    corner, base = only(two_jobs.jobs[0], 1, joint=True), only(two_jobs.jobs[1], 0, joint=False)
    drawn = series_of(replace(two_jobs, jobs=(corner, base)))
    assert [(series.label, series.names) for series in drawn] == [
        (JOINT, ("1, 0",)), ("single vectors", ("helpful",)), ("base", ("base",)),
    ]  # fmt: skip
