"""What the jobs of a sweep page can be filtered by: every override that not all of them share."""

from collections.abc import Sequence
from dataclasses import dataclass

from mva.runs.sweep_folder import Job

NOT_SET = "(as configured)"
MOST_BOXES = 8


@dataclass(frozen=True)
class Facet:
    """One overridden key: what the jobs say about it, without repetitions, numbers in their order."""

    key: str
    choices: tuple[str, ...]

    @property
    def as_boxes(self) -> bool:
        """Few choices are boxes to tick; many are one list to choose from."""
        return len(self.choices) <= MOST_BOXES


def facets(jobs: Sequence[Job]) -> list[Facet]:
    """List the keys that tell the jobs apart, in the order of their first mention."""
    settings = [settings_of(job) for job in jobs]
    keys = dict.fromkeys(key for one in settings for key in one)
    found = [Facet(key, _ordered([one.get(key, NOT_SET) for one in settings])) for key in keys]
    return [facet for facet in found if len(facet.choices) > 1]


def short_names(keys: Sequence[str]) -> list[str]:
    """Name each key by its last part, where that says which one is meant."""
    last = [key.rpartition(".")[2] for key in keys]
    return [key if last.count(name) > 1 else name for key, name in zip(keys, last, strict=True)]


def settings_of(job: Job) -> dict[str, str]:
    """Split a job's overrides into keys and what they were set to; of two that set one key the last one counts."""
    pairs = (override.lstrip("+~").partition("=") for override in job.outcome.overrides)
    return {key: setting for key, _, setting in pairs}


def _ordered(settings: Sequence[str]) -> tuple[str, ...]:
    found = list(dict.fromkeys(settings))
    try:
        return tuple(sorted(found, key=float))
    except ValueError:
        return tuple(found)
