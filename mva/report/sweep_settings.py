"""What a sweep says of its settings: jobs that differ in their seed alone, put together, with how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mva.pareto.bootstrap import Bootstrap, Difference, Interval
from mva.pareto.hypervolume import hypervolume
from mva.report.comparison import NotComparable, held_out_rewards, seed_of, shared_prompts
from mva.report.sweep_view import JobFront, JointFront

DRAWS = 300


@dataclass(frozen=True)
class SettingRow:
    """A setting: its jobs (one a seed), and their mean hypervolume from the common reference point.

    `held_out` is that of their fronts on held-out prompts, with an interval over prompts and seeds; None where that is
    not known. `difference` is held out, too, and paired by seed, from the sweep's first setting: None for that
    one, and for a setting with other seeds.
    """

    label: str
    jobs: Sequence[JobFront]
    hypervolume: float
    held_out: Interval | None
    difference: Difference | None


def setting_rows(front: JointFront, *, bootstrap: Bootstrap | None = None) -> list[SettingRow]:
    """Measure every setting of a joint front, in the order of the sweep; none where there is nothing to compare.

    That is where there is one job, or where every job scored one candidate: then the jobs are points of one front.
    """
    if len(front.jobs) < 2 or front.of_single_candidates:
        return []
    settings = {label: sorted(jobs, key=_seed) for label, jobs in front.settings.items()}
    rewards = _held_out(front, settings)
    first = next(iter(settings))
    bootstrap = bootstrap or Bootstrap(draws=DRAWS)
    point = [front.reference_point[value] for value in front.values]

    def measure(scores: ArrayLike) -> float:
        return hypervolume(scores, point)

    def difference(label: str) -> Difference | None:
        if not rewards or label == first or [*map(_seed, settings[label])] != [*map(_seed, settings[first])]:
            return None
        return bootstrap.difference(rewards[label], rewards[first], measure)

    return [
        SettingRow(
            label=label or "all jobs",
            jobs=jobs,
            hypervolume=float(np.mean([one.hypervolume for one in jobs])),
            held_out=bootstrap.interval(rewards[label], measure) if rewards else None,
            difference=difference(label),
        )
        for label, jobs in settings.items()
    ]


def _seed(job: JobFront) -> int:
    return seed_of(job.run)


def _held_out(
    front: JointFront, settings: Mapping[str, Sequence[JobFront]]
) -> dict[str, Sequence[NDArray[np.float64]]]:
    """Rewards of every job's front on the held-out prompts, by setting; empty if they can't be compared."""
    try:
        prompts = shared_prompts([one.run for one in front.jobs])
    except NotComparable:
        return {}
    if len(prompts) < 2:
        return {}
    return {
        label: [held_out_rewards(one.run, prompts, front.values) for one in jobs] for label, jobs in settings.items()
    }
