"""What the figures and tables of a sweep show, computed once, drawn elsewhere.

Scores of two jobs compare only where both were given by the same rewards. Jobs that share them are joined: one front
over all their candidates, and every job's hypervolume from one reference point. Jobs that don't stay apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mva.analysis.front_view import CandidateView, FrontView, front_view
from mva.pareto.dominance import Floats, non_dominated
from mva.pareto.front import ScoredBy
from mva.pareto.hypervolume import hypervolume, nadir
from mva.runs.run_folder import RunFiles
from mva.runs.sweep_folder import Job, Outcome, given_reference_point, labels_of, read_sweep

MARGIN = 0.1


@dataclass(frozen=True)
class JobFront:
    """A job's candidates beside the other jobs': `view.front` is measured from the common reference point.

    `label` tells it from the other jobs of the same joint front, `setting` from those that differ in more than the
    seed; `joint` marks which of `view.candidates` are on the front over all jobs. `own_hypervolume` is from the job's
    own reference point, `hypervolume` and `hypervolume_held_out` (its front on held-out prompts) from the common one.
    """

    job: Job
    label: str
    setting: str
    view: FrontView
    joint: tuple[bool, ...]
    own_hypervolume: float
    hypervolume: float
    hypervolume_held_out: float | None

    @property
    def run(self) -> RunFiles:
        """The job's records."""
        assert self.job.run is not None
        return self.job.run

    @property
    def on_joint_front(self) -> list[CandidateView]:
        """The job's candidates that no candidate of any job dominates."""
        return [c for c, kept in zip(self.view.candidates, self.joint, strict=True) if kept]


@dataclass(frozen=True, eq=False)
class JointFront:
    """Jobs with the same rewards, and the front over all their candidates; each is equal to itself alone."""

    values: tuple[str, ...]
    reward_keys: Mapping[str, str]
    reference_point: Mapping[str, float]
    reference_point_rule: str
    hypervolume: float
    jobs: tuple[JobFront, ...]

    @property
    def scored_by(self) -> ScoredBy:
        """What the scores are."""
        return self.jobs[0].view.front.scored_by

    @property
    def of_single_candidates(self) -> bool:
        """Say whether every job scored one candidate: then the jobs are the points of one front, not fronts."""
        return all(len(one.view.candidates) == 1 for one in self.jobs)

    @cached_property
    def settings(self) -> dict[str, list[JobFront]]:
        """The jobs by setting: those of one differ in their seed alone."""
        return {name: [one for one in self.jobs if one.setting == name] for name in (o.setting for o in self.jobs)}

    @property
    def drawn(self) -> list[tuple[str, list[JobFront]]]:
        """What has a colour and a sign of its own, with its label: a setting, or a job where only seeds differ."""
        by_setting = len(self.settings) > 1
        return list(self.settings.items()) if by_setting else [(one.label, [one]) for one in self.jobs]

    @cached_property
    def members(self) -> list[tuple[JobFront, CandidateView]]:
        """The joint front, in the order of the first value's score."""
        found = [(one, c) for one in self.jobs for c in one.on_joint_front]
        return sorted(found, key=lambda member: member[1].scores[self.values[0]])

    def staircase(self, x: str, y: str) -> tuple[list[float], list[float]]:
        """Corners of the border of what the joint front dominates (two values)."""
        members = tuple(replace(c, on_front=True) for _, c in self.members)
        return replace(self.jobs[0].view, candidates=members).staircase(x, y)


@dataclass(frozen=True)
class SweepView:
    """A sweep as it is shown: all its jobs, and one joint front for each set of rewards (or of pairs) among them.

    `by_pairs` are the joint fronts of second records, where jobs were scored by responses and by pairs.
    """

    folder: Path
    jobs: tuple[Job, ...]
    fronts: tuple[JointFront, ...]
    by_pairs: tuple[JointFront, ...] = ()

    @property
    def failed(self) -> list[Job]:
        """The jobs that ended with an error."""
        return [job for job in self.jobs if job.outcome.state == "failed"]

    def front_of(self, job: Job) -> JobFront | None:
        """Find what a job contributes; None if it has no front."""
        return next((one for front in self.fronts for one in front.jobs if one.job is job), None)


def sweep_view(folder: Path) -> SweepView:
    """Read a sweep folder and join the fronts of the jobs that share their rewards.

    Raises:
        UnreadableRun: See `read_sweep`.
    """
    jobs, given = read_sweep(folder), given_reference_point(folder)
    second = [replace(job, run=job.run.by_pairs) for job in jobs if job.run is not None and job.run.by_pairs]
    fronts = tuple(join(group, given) for group in _of_one_measure(jobs))
    return SweepView(folder, jobs, fronts, tuple(join(group) for group in _of_one_measure(second)))


def _of_one_measure(jobs: Sequence[Job]) -> list[list[Job]]:
    """Put jobs together whose scores compare; those without a front are left out."""
    groups: dict[tuple[tuple[str, str], ...], list[Job]] = {}
    for job in jobs:
        if job.run is not None:
            groups.setdefault(tuple(sorted(job.run.measures.items())), []).append(job)
    return list(groups.values())


def join(jobs: Sequence[Job], given: tuple[dict[str, float], str] | None = None) -> JointFront:
    """Put the candidates of jobs with the same rewards on one front.

    The common reference point is the jobs' own where all of them were given the same one; else the one that is `given`
    with its rule; else it lies just below all candidates of all jobs (see `nadir`).
    """
    pairs = [(job, front_view(job.run)) for job in jobs if job.run is not None]
    values = pairs[0][1].values
    scores = [_matrix(view.candidates, values) for _, view in pairs]
    everything = np.concatenate(scores)
    point, rule = _reference_point([view for _, view in pairs], everything, given)
    vector = [point[value] for value in values]
    outcomes = [job.outcome for job, _ in pairs]
    names = zip(labels_of(outcomes), labels_of(outcomes, seeds=False), strict=True)
    kept = np.split(non_dominated(everything), np.cumsum([len(part) for part in scores])[:-1])
    return JointFront(
        values=values,
        reward_keys=jobs[0].run.measures if jobs[0].run else {},
        reference_point=point,
        reference_point_rule=rule,
        hypervolume=hypervolume(everything, vector),
        jobs=tuple(
            JobFront(
                job=job,
                label=label or job.label,
                setting=setting,
                view=replace(view, front=replace(view.front, reference_point=point, reference_point_rule=rule)),
                joint=tuple(bool(one) for one in part),
                own_hypervolume=view.front.hypervolume,
                hypervolume=hypervolume(matrix, vector),
                hypervolume_held_out=_held_out(view, values, vector),
            )
            for (job, view), (label, setting), matrix, part in zip(pairs, names, scores, kept, strict=True)
        ),
    )


def of_one_run(run: RunFiles) -> JointFront:
    """Take a run as a sweep of one job: the joint front is its own, measured from its own reference point.

    Raises:
        ValueError: If the run has no front yet.
    """
    view = front_view(run)
    front = view.front
    job = JobFront(
        job=Job("", "", Outcome("run", 0, (), state="finished"), run),
        label="",
        setting="",
        view=view,
        joint=tuple(c.on_front for c in view.candidates),
        own_hypervolume=front.hypervolume,
        hypervolume=front.hypervolume,
        hypervolume_held_out=front.hypervolume_held_out,
    )
    keys = run.measures
    point, rule = front.reference_point, front.reference_point_rule
    return JointFront(view.values, keys, point, rule, front.hypervolume, (job,))


def _reference_point(
    views: Sequence[FrontView], scores: Floats, given: tuple[dict[str, float], str] | None
) -> tuple[dict[str, float], str]:
    first = views[0].front
    if all(
        view.front.reference_point_rule == "explicit" and view.front.reference_point == first.reference_point
        for view in views
    ):
        return dict(first.reference_point), "explicit"
    if given is not None and set(given[0]) == set(first.values):
        return given
    point = nadir(scores, margin=MARGIN).tolist()
    return dict(zip(first.values, point, strict=True)), f"nadir of all jobs: worst score minus {MARGIN:g} of the range"


def _held_out(view: FrontView, values: Sequence[str], point: Sequence[float]) -> float | None:
    held = [c.held_out for c in view.on_front if c.held_out is not None]
    if len(held) < len(view.on_front):
        return None
    return hypervolume([[scores[value] for value in values] for scores in held], point)


def _matrix(candidates: Sequence[CandidateView], values: Sequence[str]) -> Floats:
    return np.array([[c.scores[value] for value in values] for c in candidates])
