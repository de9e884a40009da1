"""The trials of a search: what was tried, and what came of it (tune.json)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mva.analysis.sweep_view import SweepView


@dataclass(frozen=True)
class Trial:
    """A trial: what was tried (`settings` by key), and in which folder below the search's.

    `configured` marks the one that tries the configuration as it stands.
    """

    number: int
    folder: str
    settings: Mapping[str, Any]
    overrides: Sequence[str]
    configured: bool = False


@dataclass(frozen=True)
class Result:
    """How a trial stands: `status` in words, hypervolumes from the common reference point (None without a front)."""

    status: str = "unfinished"
    hypervolume: float | None = None
    hypervolume_held_out: float | None = None
    seconds: float | None = None
    error: str | None = None


def results_of(trials: Sequence[Trial], view: SweepView | None) -> dict[int, Result]:
    """Find each trial's result, by its number, among the jobs of the search's folder."""
    jobs = {} if view is None else {job.name: job for job in view.jobs}
    found = {}
    for trial in trials:
        job = jobs.get(trial.folder)
        if view is None or job is None:
            found[trial.number] = Result()
            continue
        front, outcome = view.front_of(job), job.outcome
        found[trial.number] = Result(
            status=job.status,
            hypervolume=None if front is None else front.hypervolume,
            hypervolume_held_out=None if front is None else front.hypervolume_held_out,
            seconds=outcome.seconds,
            error=outcome.error,
        )
    return found


def best_of(trials: Sequence[Trial], results: Mapping[int, Result]) -> Trial | None:
    """Find the trial with the largest hypervolume on validation prompts; of equal ones the first; None without any."""
    measured = [(results[trial.number].hypervolume, trial) for trial in trials]
    return max(((h, t) for h, t in measured if h is not None), key=lambda pair: pair[0], default=(0.0, None))[1]


def trial_records(trials: Sequence[Trial], results: Mapping[int, Result]) -> list[dict[str, Any]]:
    """Describe the trials as plain data, as in tune.json."""
    return [{**asdict(trial), **asdict(results[trial.number])} for trial in trials]
