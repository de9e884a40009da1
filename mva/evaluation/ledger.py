"""The append-only record of an exploration: `candidates.jsonl` and `generations.jsonl`.

A line of `candidates.jsonl`: `schema_version`, `id`, `split`, `coefficients` (by value), `composition`,
`scores` (by value), `standard_errors` (by value), `n_prompts`, `seconds`, `key`, and with scores by preference pairs
`accuracies` (by value). A line of
`generations.jsonl`: `schema_version`, `id` (the candidate's), `split`, `prompt_id`, `prompt`, `response`,
`rewards` (by value), `key`, and, unless it is the first, `sample`: which of the candidate's responses to the prompt
this is. `cluster` names the prompt's cluster, where prompts come in clusters. Lines of both files have `disagreement`
(by value) where rewards are ensembles. The key names the evaluation that a line belongs to (see `Evaluator`);
`evaluations.json` says which one is current. A candidate that can't be scored has `failed`, the reason, instead of
scores.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any

from mva.data.preference import Dialogue, Message, prompt_id
from mva.evaluation.json_lines import DamagedLedger, JsonLines
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.records import SCHEMA_VERSION, read_json, write_json
from mva.shapes import Shape, count, fields, list_of, named, number, one_of, text

CANDIDATES, GENERATIONS, EVALUATIONS = "candidates.jsonl", "generations.jsonl", "evaluations.json"
FAILED = "failed"
DISAGREEMENT = "disagreement"

_BY_VALUE = named(number, at_least=1)
_VERSION = one_of(SCHEMA_VERSION)
_OPTIONAL = {"schema_version": _VERSION, "key": text, "disagreement": named(number)}
_CANDIDATE = {"id": text, "split": text, "coefficients": _BY_VALUE, "composition": text}
_SCORED = fields(
    {**_CANDIDATE, "scores": _BY_VALUE, "standard_errors": _BY_VALUE, "n_prompts": count, "seconds": number},
    {**_OPTIONAL, "accuracies": _BY_VALUE},
)
_FAILED = fields({**_CANDIDATE, FAILED: text}, _OPTIONAL)
_ROLE = one_of("system", "user", "assistant")
_GENERATION = fields(
    {
        "id": text,
        "split": text,
        "prompt_id": text,
        "prompt": list_of(fields({"role": _ROLE, "content": text})),
        "response": text,
        "rewards": _BY_VALUE,
    },
    {**_OPTIONAL, "sample": count, "cluster": text},
)


def _candidate_line(line: Any) -> None:
    (_FAILED if isinstance(line, dict) and FAILED in line else _SCORED)(line)


_EVALUATIONS = fields({"schema_version": _VERSION, "keys": named(text)})
_SHARED = frozenset({"id", "split", "composition", "prompt_id", "key", "cluster"})
_SHAPES: Mapping[str, Shape] = {CANDIDATES: _candidate_line, GENERATIONS: _GENERATION}


@dataclass(frozen=True, slots=True)
class Generation:
    """A candidate's response to a prompt and its reward per value."""

    candidate: str
    prompt: Dialogue
    response: str
    rewards: Mapping[str, float]
    split: str = "validation"
    sample: int = 0
    cluster: str = ""
    disagreement: Mapping[str, float] = field(default_factory=dict)


class Ledger:
    """What a run folder knows of scored candidates and their responses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._candidates = JsonLines(folder / CANDIDATES, _candidate_line)
        self._generations = JsonLines(folder / GENERATIONS, _GENERATION)

    def declare(self, split: str, key: str) -> None:
        """Write down that `key` is the split's current evaluation: readers leave out the lines of any other."""
        path = self.folder / EVALUATIONS
        keys = current_keys(self.folder)
        if keys.get(split) != key:
            write_json(path, {"schema_version": SCHEMA_VERSION, "keys": {**keys, split: key}})

    def scored(self, key: str) -> dict[str, ScoredCandidate]:
        """Read the scored candidates of the evaluation `key`, by the candidate's id."""
        share = _Sharing()
        lines = (line for line in self._candidates.read() if line.get("key") == key)
        return {line["id"]: _scored(share(line)) for line in lines if FAILED not in line}

    def current(self, split: str) -> list[Candidate]:
        """List the candidates that the split's current evaluation has scored, in the order of their scoring."""
        lines = current_lines(self.folder, CANDIDATES)
        return [
            Candidate(line["coefficients"], line["composition"])
            for line in lines
            if line["split"] == split and FAILED not in line
        ]

    def failed(self, key: str) -> dict[str, str]:
        """Read why candidates of the evaluation `key` failed, by the candidate's id."""
        lines = (line for line in self._candidates.read() if line.get("key") == key)
        return {line["id"]: line[FAILED] for line in lines if FAILED in line}

    def generations(self, key: str) -> Iterator[Generation]:
        """Read the generations of the evaluation `key` one by one, in the order in which they were written."""
        share = _Sharing()
        return (share.generation(share(line)) for line in self._generations.read() if line.get("key") == key)

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
                **_spread(one.disagreement),
                **({"accuracies": dict(one.accuracies)} if one.accuracies else {}),
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
                "id": generation.candidate,
                "split": generation.split,
                "prompt_id": prompt_id(generation.prompt),
                "prompt": [turn._asdict() for turn in generation.prompt],
                "response": generation.response,
                "rewards": dict(generation.rewards),
                "key": key,
                **({"sample": generation.sample} if generation.sample else {}),
                **({"cluster": generation.cluster} if generation.cluster else {}),
                **_spread(generation.disagreement),
            }
            for generation in generations
        )


class _Sharing:
    """Lets the lines of a long ledger share what many of them say: ids, keys and prompts."""

    def __init__(self) -> None:
        self._prompts: dict[str, tuple[list[dict[str, Any]], Dialogue]] = {}

    def __call__(self, line: dict[str, Any]) -> dict[str, Any]:
        """Make the line share its texts with earlier lines, in place."""
        for name in _SHARED & line.keys():
            line[name] = intern(line[name])
        if "prompt" in line:
            line["prompt"] = self._prompt(line)[0]
        return line

    def generation(self, line: Mapping[str, Any]) -> Generation:
        """Make a generation of its line."""
        return Generation(
            candidate=line["id"],
            prompt=self._prompt(line)[1],
            response=line["response"],
            rewards=line["rewards"],
            split=line["split"],
            sample=line.get("sample", 0),
            cluster=line.get("cluster", ""),
            disagreement=line.get(DISAGREEMENT, {}),
        )

    def _prompt(self, line: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Dialogue]:
        turns, known = line["prompt"], self._prompts.get(line["prompt_id"])
        if known is None or (known[0] is not turns and known[0] != turns):
            known = turns, tuple(Message(turn["role"], turn["content"]) for turn in turns)
            self._prompts.setdefault(line["prompt_id"], known)
        return known


def current_lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """Read the lines of `candidates.jsonl` or `generations.jsonl` that belong to each split's current evaluation.

    A folder from before evaluations were declared has the evaluation of each split's last line.
    """
    share, current = _Sharing(), current_keys(folder)
    lines, latest = list[dict[str, Any]](), dict[str, Any]()
    for line in JsonLines(folder / name, _SHAPES[name]).read():
        split, key = line["split"], line.get("key")
        latest[split] = key
        if current.get(split, key) == key:
            lines.append(share(line))
    latest |= current
    return [line for line in lines if line.get("key") == latest[line["split"]]]


def _spread(disagreement: Mapping[str, float]) -> dict[str, dict[str, float]]:
    return {DISAGREEMENT: dict(disagreement)} if disagreement else {}


def current_keys(folder: Path) -> dict[str, str]:
    """Read which evaluation of each split is current, by split; empty where none was declared."""
    path = folder / EVALUATIONS
    if not path.exists():
        return {}
    mend = "delete it, and run again in the same folder"
    keys: dict[str, str] = read_json(path, _EVALUATIONS, mend=mend, error=DamagedLedger)["keys"]
    return keys


def _scored(line: Mapping[str, Any]) -> ScoredCandidate:
    return ScoredCandidate(
        candidate=Candidate(line["coefficients"], line["composition"]),
        scores=line["scores"],
        standard_errors=line["standard_errors"],
        n_prompts=line["n_prompts"],
        split=line["split"],
        seconds=line["seconds"],
        disagreement=line.get(DISAGREEMENT, {}),
        accuracies=line.get("accuracies", {}),
    )
