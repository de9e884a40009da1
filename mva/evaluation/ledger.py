"""The append-only record of an exploration: `candidates.jsonl` and `generations.jsonl`.

A line of `candidates.jsonl`: `schema_version`, `id`, `split`, `coefficients` (by value), `composition`,
`scores` (by value), `standard_errors` (by value), `n_prompts`, `seconds`, `key`. A line of
`generations.jsonl`: `schema_version`, `id` (the candidate's), `split`, `prompt_id`, `prompt`, `response`,
`rewards` (by value), `key`. The key names the evaluation that a line belongs to (see `Evaluator`); `evaluations.json`
says which one is current. A candidate that can't be scored has `failed`, the reason, instead of scores.
"""

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mva.data.preference import Dialogue, Message, prompt_id
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.records import SCHEMA_VERSION, write_json

CANDIDATES, GENERATIONS, EVALUATIONS = "candidates.jsonl", "generations.jsonl", "evaluations.json"
FAILED = "failed"


class DamagedLedger(ValueError):
    """A ledger with an unreadable line that is not its last."""


@dataclass(frozen=True)
class Generation:
    """A candidate's response to a prompt and its reward per value."""

    candidate: str
    prompt: Dialogue
    response: str
    rewards: Mapping[str, float]
    split: str = "validation"


class JsonLines:
    """An append-only file of JSON objects, one a line, that a crash can't spoil."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, records: Iterable[Mapping[str, object]]) -> None:
        """Add lines; when this returns they are on the disk."""
        lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records]
        if not lines:
            return
        with self.path.open("a", encoding="utf-8") as file:
            for line in lines:
                file.write(line)
                file.flush()
            os.fsync(file.fileno())

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the lines in their order; a torn last line is cut off the file, and a warning says so.

        Raises:
            DamagedLedger: If a line before the last is unreadable.
        """
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line.decode())
                if not line.endswith(b"\n"):
                    raise ValueError("no line end")
            except ValueError:
                if number < len(lines):
                    raise DamagedLedger(
                        f"{self.path}:{number} is not JSON: delete that line, or start in a new folder."
                    ) from None
                self._cut(sum(map(len, lines[:-1])), number)
            else:
                yield record

    def _cut(self, size: int, number: int) -> None:
        os.truncate(self.path, size)
        warnings.warn(
            f"{self.path}:{number} was torn when a run was killed: the line is cut off, and what it "
            "held is evaluated again.",
            stacklevel=3,
        )


class Ledger:
    """What a run folder knows of scored candidates and their responses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._candidates = JsonLines(folder / CANDIDATES)
        self._generations = JsonLines(folder / GENERATIONS)

    def declare(self, split: str, key: str) -> None:
        """Write down that `key` is the split's current evaluation: readers leave out the lines of any other."""
        path = self._folder / EVALUATIONS
        keys = _declared(path)
        if keys.get(split) != key:
            write_json(path, {"schema_version": SCHEMA_VERSION, "keys": {**keys, split: key}})

    def scored(self, key: str) -> dict[str, ScoredCandidate]:
        """Read the scored candidates of the evaluation `key`, by the candidate's id."""
        lines = (line for line in self._candidates.read() if line["key"] == key)
        return {line["id"]: _scored(line) for line in lines if FAILED not in line}

    def failed(self, key: str) -> dict[str, str]:
        """Read why candidates of the evaluation `key` failed, by the candidate's id."""
        lines = (line for line in self._candidates.read() if line["key"] == key)
        return {line["id"]: line[FAILED] for line in lines if FAILED in line}

    def generations(self, key: str) -> dict[tuple[str, str], Generation]:
        """Read the generations of the evaluation `key`, by (candidate's id, prompt's id)."""
        lines = (line for line in self._generations.read() if line["key"] == key)
        return {(line["id"], line["prompt_id"]): _generation(line) for line in lines}

    def add_scored(self, scored: Iterable[ScoredCandidate], *, key: str) -> None:
        """Append scored candidates."""
        self._candidates.append(
            {
                "schema_version": SCHEMA_VERSION,
                "id": one.candidate.id,
                "split": one.split,
                "coefficients": dict(one.candidate.coefficients),
                "composition": one.candidate.composition,
                "scores": dict(one.scores),
                "standard_errors": dict(one.standard_errors),
                "n_prompts": one.n_prompts,
                "seconds": round(one.seconds, 3),
                "key": key,
            }
            for one in scored
        )

    def add_failed(self, candidate: Candidate, reason: str, *, split: str, key: str) -> None:
        """Append a candidate that can't be scored, with the reason."""
        line = {
            "schema_version": SCHEMA_VERSION,
            "id": candidate.id,
            "split": split,
            "coefficients": dict(candidate.coefficients),
            "composition": candidate.composition,
            FAILED: reason,
            "key": key,
        }
        self._candidates.append([line])

    def add_generations(self, generations: Iterable[Generation], *, key: str) -> None:
        """Append generations."""
        self._generations.append(
            {
                "schema_version": SCHEMA_VERSION,
                "id": one.candidate,
                "split": one.split,
                "prompt_id": prompt_id(one.prompt),
                "prompt": [turn._asdict() for turn in one.prompt],
                "response": one.response,
                "rewards": dict(one.rewards),
                "key": key,
            }
            for one in generations
        )


def current_lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """Read the lines of `candidates.jsonl` or `generations.jsonl` that belong to each split's current evaluation.

    A folder from before evaluations were declared has the evaluation of each split's last line.
    """
    lines = list(JsonLines(folder / name).read())
    keys = {line["split"]: line.get("key") for line in lines} | _declared(folder / EVALUATIONS)
    return [line for line in lines if line.get("key") == keys[line["split"]]]


def _declared(path: Path) -> dict[str, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DamagedLedger(f"{path} is not JSON ({error}): delete it, and run again in the same folder.") from error
    keys: dict[str, str] = record["keys"]
    return keys


def _scored(line: Mapping[str, Any]) -> ScoredCandidate:
    return ScoredCandidate(
        candidate=Candidate(line["coefficients"], line["composition"]),
        scores=line["scores"],
        standard_errors=line["standard_errors"],
        n_prompts=line["n_prompts"],
        split=line["split"],
        seconds=line["seconds"],
    )


def _generation(line: Mapping[str, Any]) -> Generation:
    prompt = tuple(Message(**turn) for turn in line["prompt"])
    return Generation(line["id"], prompt, line["response"], line["rewards"], line["split"])
