"""A run's responses, by candidate, prompt and sample."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mva.runs.run_folder import Record, RunFiles
from mva.statistics.rewards import by_cluster

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """Responses of several candidates to the prompts that all of them answered.

    `lines[i][p][s]` is the ledger's line of candidate i, prompt p and sample s.
    """

    lines: tuple[tuple[tuple[Record, ...], ...], ...]

    @classmethod
    def of(cls, run: RunFiles, ids: Sequence[str], split: str) -> "Answers":
        """Collect the responses of the candidates `ids`, in their order; prompts in the order of their ids."""
        lines: dict[str, dict[str, list[Record]]] = {candidate: {} for candidate in ids}
        for line in run.generations:
            if line["split"] == split and line["id"] in lines:
                lines[line["id"]].setdefault(line["prompt_id"], []).append(line)
        prompts = sorted(set.intersection(*map(set, lines.values()))) if lines else []
        return cls(
            tuple(
                tuple(tuple(sorted(lines[candidate][prompt], key=_number)) for prompt in prompts) for candidate in ids
            )
        )

    @property
    def n_prompts(self) -> int:
        """How many prompts all candidates answered."""
        return len(self.lines[0]) if self.lines else 0

    @property
    def n_independent(self) -> int:
        """How many prompts, or clusters of prompts, are independent of each other."""
        return len(set(self._labels))

    def rewards(self, values: Sequence[str]) -> Floats:
        """Average the rewards over samples. Shape: `(n_candidates, n_independent, n_values)`."""
        return self.measured(lambda line: [line["rewards"][value] for value in values])

    def measured(self, measure: Callable[[Record], Sequence[float]]) -> Floats:
        """Measure each response and average over samples; each cluster of prompts counts as one prompt.

        Shape: `(n_candidates, n_independent, n_measures)`.
        """
        means = [[_mean([measure(line) for line in samples]) for samples in row] for row in self.lines]
        numbers = np.array(means, dtype=np.float64)
        return by_cluster(numbers, self._labels) if self.n_independent < self.n_prompts else numbers

    @property
    def _labels(self) -> list[str]:
        prompts = self.lines[0] if self.lines else ()
        return [samples[0].get("cluster", f"prompt {samples[0]['prompt_id']}") for samples in prompts]


def first_samples(generations: Iterable[Record]) -> Iterator[Record]:
    """Of several responses to a prompt, give the first: what is shown as the candidate's response."""
    return (line for line in generations if _number(line) == 0)


def _number(line: Record) -> int:
    number: int = line.get("sample", 0)
    return number


def _mean(rows: Sequence[Sequence[float]]) -> Floats:
    return np.mean(np.asarray(rows, dtype=np.float64), axis=0)
