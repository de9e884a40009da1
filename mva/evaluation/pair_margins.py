"""A candidate's margins on preference pairs, as they are kept in `pair_margins.jsonl`, and what is made of them.

The margin of a pair is that of the implicit reward of DPO (arXiv 2305.18290, Sec. 4), in nats, before beta:

    margin = (log pi(chosen) - log pi_reference(chosen)) - (log pi(rejected) - log pi_reference(rejected))

A line of the file: `schema_version`, `id` (the candidate's), `split`, `value`, `first` (the number of the line's first
pair among the value's), `prompt_ids` and `margins` of the pairs from there on, `beta`, `key` (the evaluation's).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mva.evaluation.json_lines import JsonLines
from mva.records import SCHEMA_VERSION
from mva.shapes import Mismatch, count, fields, list_of, number, one_of, text

MARGINS = "pair_margins.jsonl"
Floats = NDArray[np.float64]

_LINE = fields(
    {
        "schema_version": one_of(SCHEMA_VERSION),
        "id": text,
        "split": text,
        "value": text,
        "first": count,
        "prompt_ids": list_of(text, at_least=1),
        "margins": list_of(number, at_least=1),
        "beta": number,
        "key": text,
    }
)


def margin_line(line: Any) -> None:
    """Take a line of `pair_margins.jsonl`; see `mva.shapes`."""
    _LINE(line)
    if len(line["margins"]) != len(line["prompt_ids"]):
        raise Mismatch("as many numbers as prompt_ids", line["margins"]).inside("margins")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A candidate's margins on the pairs of a value that begin with number `first`."""

    candidate: str
    value: str
    first: int
    prompt_ids: Sequence[str]
    margins: Sequence[float]


class MarginLedger:
    """The append-only record of margins in a run's folder."""

    def __init__(self, folder: Path) -> None:
        self._lines = JsonLines(folder / MARGINS, margin_line)

    def read(self, key: str) -> Iterator[Stretch]:
        """Read the stretches of the evaluation `key`, in the order in which they were written."""
        for line in self._lines.read():
            if line["key"] == key:
                yield Stretch(line["id"], line["value"], line["first"], line["prompt_ids"], line["margins"])

    def add(self, stretches: Iterable[Stretch], *, split: str, beta: float, key: str) -> None:
        """Append stretches."""
        self._lines.append(
            {
                "schema_version": SCHEMA_VERSION,
                "id": stretch.candidate,
                "split": split,
                "value": stretch.value,
                "first": stretch.first,
                "prompt_ids": list(stretch.prompt_ids),
                "margins": list(stretch.margins),
                "beta": beta,
                "key": key,
            }
            for stretch in stretches
        )


def utilities(margins: Floats, beta: float) -> Floats:
    """Turn margins into scores, `log sigmoid(beta * margin)`: at most 0, and -0.69 where nothing is preferred."""
    return np.asarray(-np.logaddexp(0.0, -beta * margins))


def accuracy(margins: Floats) -> float:
    """Count the share of pairs whose chosen response is preferred; a tie counts half."""
    return float((margins > 0).mean() + 0.5 * (margins == 0).mean())
