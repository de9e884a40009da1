"""What lies in a run folder (docs/run_folder.md), written and read; reading never writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mva.evaluation.json_lines import JsonLines
from mva.evaluation.ledger import CANDIDATES, FAILED, GENERATIONS, current_keys, current_lines
from mva.evaluation.pair_margins import MARGINS, margin_line
from mva.folders import check_folder
from mva.names import BadName, check_name
from mva.pareto.front import Front
from mva.records import SCHEMA_VERSION, read_json, read_whole, write_json
from mva.runs.run_records import RECORDS, disagreements, metrics_line

Record = Mapping[str, Any]
PAIRS = "pairs"
"""The folder of the second record of a run whose candidates are scored by both, responses and preference pairs."""
_AGAIN = "run again in the same folder to write it again"


class UnreadableRun(ValueError):
    """The folder is no run, or a file in it can't be read."""


@dataclass(frozen=True)
class RunFiles:
    """A run folder's records as they stand in its files; what a run has not written yet is empty.

    `candidates` and `generations` are the ledger's lines of the current evaluations; of several with the same identity
    the last one counts. `failed` are lines of candidates that could not be scored. `data_changed` names the values
    whose data was edited while the run went on. `margins` are the lines of scores by preference pairs, `pairs`
    says what these are; `by_pairs` is the second record of a run that was scored by both: front, candidates, margins.
    """

    folder: Path
    front: Front | None
    candidates: tuple[Record, ...]
    failed: tuple[Record, ...]
    generations: tuple[Record, ...]
    rewards: Mapping[str, Record]
    reward_checks: tuple[Record, ...]
    training: Record
    dependence: Record
    interference: Record
    preservation: Mapping[str, Record]
    model: Record
    data: Mapping[str, Record]
    data_changed: tuple[str, ...]
    stages: tuple[Record, ...]
    metrics: tuple[Record, ...]
    environment: Record
    config: str
    margins: tuple[Record, ...] = ()
    pairs: Record = field(default_factory=dict)
    by_pairs: "RunFiles | None" = None

    @property
    def measures(self) -> dict[str, str]:
        """What the scores of each value were given by: scores of runs with equal keys compare."""
        if self.front is not None and self.front.scored_by == "pairs":
            return {value: str(facts["key"]) for value, facts in self.pairs.get("values", {}).items()}
        return {value: str(reward["key"]) for value, reward in self.rewards.items()}


def read_run(folder: Path) -> RunFiles:
    """Read a run folder.

    Raises:
        UnreadableRun: If the folder is no run, or a record is broken, of another shape or of another schema version.
        DamagedLedger: If a line of a JSONL file is unreadable or of another shape; an unfinished last one is left out.
        UnsafeFolder: If something in the folder leads out of it, or can't be read as a file.
    """
    if not (folder / "config.yaml").is_file():
        raise UnreadableRun(f"{folder} is no run folder: it has no config.yaml.")
    check_folder(folder)
    lines = _lines(folder, CANDIDATES, "id", "split")
    candidates = tuple(line for line in lines if FAILED not in line)
    generations = _lines(folder, GENERATIONS, "id", "split", "prompt_id", "sample")
    front = _front(folder, candidates, generations)
    _check_names(folder, lines, () if front is None else front.values)
    data = _record(folder, "data")
    rewards = _record(folder, "rewards")
    run = RunFiles(
        folder=folder,
        front=front,
        candidates=candidates,
        failed=tuple(line for line in lines if FAILED in line),
        generations=generations,
        rewards=rewards.get("rewards", {}),
        reward_checks=tuple(rewards.get("checks", ())),
        training=_record(folder, "training"),
        dependence=_record(folder, "dependence"),
        interference=_record(folder, "interference"),
        preservation=_record(folder, "preservation").get("values", {}),
        model=_record(folder, "model"),
        data=data.get("values", {}),
        data_changed=tuple(data.get("changed", ())),
        stages=tuple(_record(folder, "timings").get("stages", ())),
        metrics=tuple(JsonLines(folder / "metrics.jsonl", metrics_line).read()),
        environment=_record(folder, "environment"),
        config=_text(folder / "config.yaml"),
        margins=_margins(folder),
        pairs=_record(folder, "pairs"),
    )
    return replace(run, by_pairs=_by_pairs(run))


def _by_pairs(run: RunFiles) -> RunFiles | None:
    """Read the second record: its ledger and front come from its folder, the rest from the run's."""
    home = run.folder / PAIRS
    lines = _lines(home, CANDIDATES, "id", "split")
    candidates = tuple(line for line in lines if FAILED not in line)
    front = _front(home, candidates, ())
    _check_names(home, lines, () if front is None else front.values)
    if run.front is None or front is None:
        return None
    failed = tuple(line for line in lines if FAILED in line)
    return replace(
        run, front=front, candidates=candidates, failed=failed, generations=(), rewards={}, margins=_margins(home)
    )


def _margins(folder: Path) -> tuple[Record, ...]:
    """Read the margins of each split's current evaluation; of several of the same pairs the last one counts."""
    current = set(current_keys(folder).values())
    lines = (line for line in JsonLines(folder / MARGINS, margin_line).read() if line["key"] in current)
    return tuple({(line["id"], line["split"], line["value"], line["first"]): line for line in lines}.values())


def write_record(folder: Path, name: str, record: Mapping[str, object]) -> None:
    """Write one of the run's `RECORDS`, atomically, with its schema version.

    Raises:
        KeyError: If there is no record of that name.
        ValueError: If it has a field that `RECORDS` does not name, holds NaN or infinity, or what JSON has no word for.
    """
    if unknown := record.keys() - {"schema_version", *RECORDS[name].names}:
        raise ValueError(f"{name}.json has no field {min(unknown)!r}: name it in RECORDS and in docs/run_folder.md.")
    write_json(folder / f"{name}.json", {"schema_version": SCHEMA_VERSION, **record})


def _check_names(folder: Path, lines: Sequence[Record], values: Sequence[str]) -> None:
    """Refuse names of candidates and values that would be paths: exports and vectors are looked up by them."""
    names = {name: "a value" for line in lines for name in line.get("coefficients", {})}
    names |= dict.fromkeys(values, "a value") | {line["id"]: "a candidate" for line in lines}
    try:
        for name, kind in names.items():
            check_name(name, where=f"{kind} in {folder}")
    except BadName as error:
        raise UnreadableRun(str(error)) from error


def _text(path: Path) -> str:
    try:
        return read_whole(path, mend="restore it", error=UnreadableRun).decode()
    except UnicodeDecodeError as error:
        raise UnreadableRun(f"{path} is no text in UTF-8 ({error}): restore it.") from error


def _record(folder: Path, name: str) -> Record:
    path = folder / f"{name}.json"
    if not path.is_file():
        return {}
    record: Record = read_json(path, RECORDS[name], mend=_AGAIN, error=UnreadableRun)
    return record


def _front(folder: Path, candidates: Sequence[Record], generations: Sequence[Record]) -> Front | None:
    """Read the front; None where it is of an earlier evaluation than the ledger's current one."""
    record = _record(folder, "front")
    validated = [line for line in candidates if line["split"] == "validation"]
    scored = {line["id"] for line in validated}
    if not record or not all(point["id"] in scored for point in record["points"]):
        return None
    for problem in disagreements(record, validated, generations):
        raise UnreadableRun(f"{folder}: front and ledger do not belong together: {problem}: {_AGAIN}.")
    return Front.from_json(record)


def _lines(folder: Path, name: str, *identity: str) -> tuple[Record, ...]:
    latest = {tuple(line.get(field) for field in identity): line for line in current_lines(folder, name)}
    return tuple(latest.values())
