"""What the figures of a front draw: series of candidates that look alike. A run is a sweep of one job."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from mva.analysis.front_view import BASE, CORNER, CandidateView
from mva.analysis.sweep_view import JobFront, JointFront

Role = Literal["candidate", "simplex", "front", "single vector", "base"]
Style = Role | int
Line = tuple[list[float], list[float]]
Member = tuple[JobFront, CandidateView]
JOINT = "front over all jobs"


@dataclass(frozen=True)
class Series:
    """Candidates with one label and one style: a role, or the number of a sweep's setting.

    `jobs` are those that the candidates belong to, `on_front` marks which are on their job's own front, `joint` which
    are on the front over all jobs; with `held_out` their scores on held-out prompts are drawn, too.
    `borders` are the staircases of the jobs' fronts (two values), `names` stand beside the points, `note` follows the
    label where there is room.
    """

    label: str
    style: Style
    candidates: tuple[CandidateView, ...]
    jobs: tuple[JobFront, ...]
    on_front: tuple[bool, ...]
    joint: tuple[bool, ...]
    held_out: bool = False
    borders: tuple[Line, ...] = ()
    names: tuple[str, ...] = ()
    note: str = ""


def series_of(front: JointFront) -> list[Series]:
    """List a series a setting; where all candidates make one front (see `is_one_front`), a series a kind of candidate.

    A series that would be empty is left out.
    """
    if is_one_front(front):
        return _by_kind(front)
    return [_of_setting(label, number, jobs) for number, (label, jobs) in enumerate(front.drawn)]


def is_one_front(front: JointFront) -> bool:
    """Say whether the candidates make one front: those of a single job, or of jobs that scored one candidate each."""
    return len(front.jobs) == 1 or front.of_single_candidates


def _of_setting(label: str, number: int, jobs: Sequence[JobFront]) -> Series:
    volume = sum(job.hypervolume for job in jobs) / len(jobs)
    views = [job.view for job in jobs]
    return Series(
        label=label,
        style=number,
        candidates=tuple(chain.from_iterable(view.candidates for view in views)),
        jobs=tuple(job for job in jobs for _ in job.view.candidates),
        on_front=tuple(candidate.on_front for candidate in chain.from_iterable(view.candidates for view in views)),
        joint=tuple(joint for job in jobs for joint in job.joint),
        borders=tuple(view.staircase(*view.values) for view in views if len(view.values) == 2),
        note=f"{volume:.3g}" + (f" (mean of {len(jobs)})" if len(jobs) > 1 else ""),
    )


def _by_kind(front: JointFront) -> list[Series]:
    joint = {id(candidate) for _, candidate in front.members}
    groups: dict[Role, list[Member]] = {role: [] for role in _LABELS}
    groups["front"] = front.members
    for job in front.jobs:
        for candidate in job.view.candidates:
            if candidate.kind in _ROLES:
                groups[_ROLES[candidate.kind]].append((job, candidate))
            elif id(candidate) not in joint:
                groups["simplex" if candidate.convex else "candidate"].append((job, candidate))
    single = len(front.jobs) > 1
    drawn = {role: _of_role(role, members) for role, members in groups.items() if members}
    drawn["front"] = replace(
        drawn["front"],
        label=JOINT if single else _LABELS["front"],
        held_out=all(candidate.held_out is not None for _, candidate in front.members),
        borders=(front.staircase(*front.values),) if len(front.values) == 2 else (),
        names=drawn["front"].names if single else (),
    )
    return list(drawn.values())


def _of_role(role: Role, members: Sequence[Member]) -> Series:
    candidates = tuple(candidate for _, candidate in members)
    on_front, joint = (role == "front",) * len(members), (False,) * len(members)
    names = tuple(_NAMES[role](candidate) for candidate in candidates) if role in _NAMES else ()
    return Series(_LABELS[role], role, candidates, tuple(job for job, _ in members), on_front, joint, names=names)


def _coefficients(candidate: CandidateView) -> str:
    return ", ".join(f"{omega:g}" for omega in candidate.coefficients.values())


_LABELS: Mapping[Role, str] = {
    "candidate": "candidates",
    "simplex": "candidates, coefficients sum to 1",
    "front": "front",
    "single vector": "single vectors",
    "base": "base",
}
_ROLES: Mapping[str, Role] = {BASE: "base", CORNER: "single vector"}
_NAMES: Mapping[Role, Callable[[CandidateView], str]] = {
    "front": _coefficients,
    "single vector": lambda candidate: max(candidate.coefficients, key=lambda name: candidate.coefficients[name]),
    "base": lambda _: BASE,
}
