"""What lies in a sweep folder: the jobs of a multirun, how each ended and what each found; reading never writes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Literal, get_args

from mva.folders import check_folder
from mva.records import SCHEMA_VERSION, read_json, write_json
from mva.runs.run_folder import Record, RunFiles, UnreadableRun, read_run
from mva.runs.run_records import RecordShape
from mva.shapes import anything, count, fields, list_of, maybe, named, number, one_of, text, whole

OUTCOME = "outcome.json"
SEARCH = "tune.json"

State = Literal["running", "finished", "failed"]

_TRIAL = fields(
    {
        "number": count,
        "folder": text,
        "settings": named(anything),
        "overrides": list_of(text),
        "configured": one_of(True, False),
    }
)
RECORDS: Mapping[str, RecordShape] = {
    "outcome": RecordShape(
        {"command": text, "number": whole, "overrides": list_of(text)},
        {
            "configuration": text,
            "state": one_of(*get_args(State)),
            "seconds": maybe(number),
            "objective": maybe(number),
            "error": maybe(text),
        },
    ),
    "tune": RecordShape(
        {
            "configuration": text,
            "space": named(anything),
            "trials": list_of(_TRIAL),
            "reference_point": maybe(named(number, at_least=1)),
            "reference_point_rule": maybe(text),
        },
        {"sampler": text, "best": anything},
    ),
}
"""What lies in a sweep's folder and in its jobs' (docs/sweeps.md), beside each job's run."""


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
    """Read a job's record; None if there is none, or one that can't be read (the job then runs again)."""
    try:
        return checked_outcome(folder)
    except (FileNotFoundError, UnreadableRun):
        return None


def checked_outcome(folder: Path) -> Outcome:
    """Read a job's record.

    Raises:
        UnreadableRun: If it is torn, or no job's record.
        OSError: If there is none.
    """
    record = read_json(
        folder / OUTCOME, RECORDS["outcome"], mend="run the job again to write it again", error=UnreadableRun
    )
    return Outcome(**{field.name: record[field.name] for field in fields_of(Outcome) if field.name in record})


@dataclass(frozen=True)
class Job:
    """A job of the sweep: `label` are the overrides that tell it from the others, `name` its folder in the sweep's.

    `run` are its records, if it finished and has a front. A record that can't be read has no command and number -1.
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

    A job whose records can't be read is one that failed, with what is wrong as its error: it stops no other.

    Raises:
        UnreadableRun: If there is no job in the folder.
        UnsafeFolder: If something in it, beside the jobs' folders, leads out of it.
    """
    check_folder(folder, below=False)
    jobs = [_read_job(path.parent) for path in folder.rglob(OUTCOME) if path.parent != folder]
    if not jobs:
        raise UnreadableRun(
            f"{folder} holds neither a run (config.yaml) nor a sweep's jobs ({OUTCOME} in its folders)."
        )
    jobs.sort(key=lambda job: (job[1].number, str(job[0])))
    known = [outcome for _, outcome, _ in jobs if outcome.command]
    labels = dict(zip(map(id, known), labels_of(known), strict=True)) if known else {}
    return tuple(
        Job(str(place.relative_to(folder)), labels.get(id(outcome)) or place.name, outcome, run)
        for place, outcome, run in jobs
    )


def read_search(folder: Path) -> Record | None:
    """Read the record of a search (mva-tune); None if the folder holds none.

    Raises:
        UnreadableRun: If it can't be read.
    """
    path = folder / SEARCH
    if not path.is_file():
        return None
    record: Record = read_json(
        path, RECORDS["tune"], mend="start the search again in a new folder", error=UnreadableRun
    )
    return record


def given_reference_point(folder: Path) -> tuple[dict[str, float], str] | None:
    """Read the reference point that a search fixed for all its jobs, and its rule; None if there is none.

    Raises:
        UnreadableRun: If the search's record can't be read.
    """
    record = read_search(folder)
    if record is None or record["reference_point"] is None:
        return None
    return record["reference_point"], str(record["reference_point_rule"])


def labels_of(outcomes: Sequence[Outcome], *, seeds: bool = True) -> list[str]:
    """Name each job by the overrides that not all of them have, with or without its seed; empty where there is none."""
    shared = set.intersection(*(set(outcome.overrides) for outcome in outcomes))
    return [
        ", ".join(o for o in outcome.overrides if o not in shared and (seeds or not o.startswith("seed=")))
        for outcome in outcomes
    ]


def outcome_of(folder: Path) -> Outcome | None:
    """Read how a job stands; one that finished, but whose records can't be read, failed. None without a record."""
    outcome = _read_job(folder)[1] if (folder / OUTCOME).is_file() else None
    return outcome if outcome is not None and outcome.command else None


def _record(path: Path, *, mend: str) -> Record:
    record: Record = read_json(path, RECORDS[path.stem], mend=mend, error=UnreadableRun)
    return record


def _read_job(folder: Path) -> tuple[Path, Outcome, RunFiles | None]:
    """Read a job's record and, where it finished and has a front, its run."""
    try:
        outcome = checked_outcome(folder)
    except (UnreadableRun, OSError) as error:
        return folder, Outcome("", -1, (), state="failed", error=str(error)), None
    # What a failed job's folder holds may stem from another configuration, or be half of a run.
    if outcome.state != "finished" or not (folder / "front.json").is_file():
        return folder, outcome, None
    try:
        return folder, outcome, read_run(folder)
    except (ValueError, OSError) as error:
        return folder, replace(outcome, state="failed", error=str(error)), None
