"""Read a sweep folder: the jobs of a multirun, how each ended and what each found."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mva.records import SCHEMA_VERSION, write_json
from mva.report.run_files import RunFiles, UnreadableRun, read_run

OUTCOME = "outcome.json"
SEARCH = "tune.json"

State = Literal["running", "finished", "failed"]


@dataclass(frozen=True)
class Outcome:
    """How a job stands: what it leaves in its folder (`outcome.json`).

    `configuration` is the hash of the resolved configuration: a finished job is skipped only if the same one is asked
    for again. A record that says `running` when nothing runs any more belongs to a job that was killed.
    `objective` is what the job returned, `seconds` what it took from its last start on.
    """

    command: str
    number: int
    overrides: Sequence[str]
    configuration: str = ""
    state: State = "running"
    seconds: float | None = None
    objective: float | None = None
    error: str | None = None

    def write(self, folder: Path) -> None:
        """Write the record into the job's folder, atomically."""
        write_json(folder / OUTCOME, {"schema_version": SCHEMA_VERSION, **asdict(self)})


def read_outcome(folder: Path) -> Outcome | None:
    """Read a job's record; None if there is none, or one that this version can't read (the job then runs again)."""
    try:
        record = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if record.pop("schema_version", None) != SCHEMA_VERSION:
        return None
    return Outcome(**record)


@dataclass(frozen=True)
class Job:
    """A job of the sweep: `label` are the overrides that tell it from the others, `name` its folder in the sweep's.

    `run` are its records, if it finished and has a front.
    """

    name: str
    label: str
    outcome: Outcome
    run: RunFiles | None

    @property
    def status(self) -> str:
        """The state in words."""
        return "unfinished" if self.outcome.state == "running" else self.outcome.state


def read_sweep(folder: Path) -> tuple[Job, ...]:
    """Read all jobs below a sweep folder, in the order of the sweep.

    Raises:
        UnreadableRun: If there is no job in the folder, or a finished job's records are broken.
    """
    found = [(path.parent, read_outcome(path.parent)) for path in folder.rglob(OUTCOME) if path.parent != folder]
    jobs = [(place, outcome) for place, outcome in found if outcome is not None]
    if not jobs:
        raise UnreadableRun(
            f"{folder} holds neither a run (config.yaml) nor a sweep's jobs ({OUTCOME} in its folders)."
        )
    jobs.sort(key=lambda job: (job[1].number, str(job[0])))
    labels = labels_of([outcome for _, outcome in jobs])
    return tuple(
        Job(str(place.relative_to(folder)), label or place.name, outcome, _finished_run(place, outcome))
        for (place, outcome), label in zip(jobs, labels, strict=True)
    )


def given_reference_point(folder: Path) -> tuple[dict[str, float], str] | None:
    """Read the reference point that a search (mva-tune) fixed for all its jobs, and its rule; None if there is none."""
    path = folder / SEARCH
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    point = record.get("reference_point")
    return None if point is None else (point, str(record["reference_point_rule"]))


def labels_of(outcomes: Sequence[Outcome], *, seeds: bool = True) -> list[str]:
    """Name each job by the overrides that not all of them have, with or without its seed; empty where there is none."""
    shared = set.intersection(*(set(outcome.overrides) for outcome in outcomes))
    return [
        ", ".join(o for o in outcome.overrides if o not in shared and (seeds or not o.startswith("seed=")))
        for outcome in outcomes
    ]


def _finished_run(folder: Path, outcome: Outcome) -> RunFiles | None:
    # What a failed job's folder holds may stem from another configuration, or be half of a run.
    if outcome.state != "finished" or not (folder / "front.json").is_file():
        return None
    return read_run(folder)
