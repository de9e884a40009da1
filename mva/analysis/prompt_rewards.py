"""What stands behind a run's scores, prompt by prompt, as its folder has it: rewards of responses or pairs' margins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mva.evaluation.pair_margins import accuracy, utilities
from mva.runs.responses import Answers
from mva.runs.run_folder import Record, RunFiles
from mva.statistics.rewards import Floats
from mva.statistics.unshared import by_prompt, on_all_prompts


def by_pairs(run: RunFiles) -> bool:
    """Say whether the run's scores are those of preference pairs."""
    return run.front is not None and run.front.scored_by == "pairs"


def prompt_rewards(run: RunFiles, ids: Sequence[str], split: str, values: Sequence[str]) -> Floats | None:
    """Read the rewards of candidates, in the order of `ids`, on the prompts that all of them were scored on.

    Prompts are sorted by name. Of scores by preference pairs, each value has different prompts
    (`mva/statistics/unshared.py`). None where there are fewer than two prompts.

    Shape: `(n_candidates, n_prompts or n_clusters, n_values)`.
    """
    if not by_pairs(run):
        answers = Answers.of(run, ids, split)
        return answers.rewards(values) if answers.n_independent > 1 else None
    tables = pair_tables(run, ids, split)
    if any(value not in tables for value in values):
        return None
    return on_all_prompts([tables[value].means for value in values])


def prompt_sides(
    run: RunFiles, first: str, second: str, split: str, values: Sequence[str]
) -> dict[str, tuple[list[float], list[float]]]:
    """What each prompt gives to the scores of two candidates, by value; a value's own prompts, two or more."""
    if by_pairs(run):
        tables = pair_tables(run, [first, second], split)
        sides = {value: table.means[0] for value, table in tables.items() if value in values}
    else:
        rewards = prompt_rewards(run, [first, second], split, values)
        sides = {} if rewards is None else {value: rewards[:, :, k] for k, value in enumerate(values)}
    return {value: (side[0].tolist(), side[1].tolist()) for value, side in sides.items()}


@dataclass(frozen=True, eq=False)
class PairTable:
    """A value's pairs: each one's prompt, candidates' margins `(n_candidates, n_pairs)`, beta."""

    prompt_ids: tuple[str, ...]
    margins: Floats
    beta: float

    @property
    def means(self) -> tuple[Floats, tuple[str, ...]]:
        """What each prompt adds to the candidates' scores, and the prompts' names."""
        return by_prompt(utilities(self.margins, self.beta), self.prompt_ids)

    def accuracies(self) -> list[float]:
        """The share of pairs on which each candidate agrees."""
        return [accuracy(margins) for margins in self.margins]


def pair_tables(run: RunFiles, ids: Sequence[str], split: str) -> dict[str, PairTable]:
    """Read the margins of candidates, in the order of `ids`, by value.

    A value that one of them lacks, or that has fewer than two prompts, is left out.
    """
    lines: dict[tuple[str, str], list[Record]] = {}
    for line in run.margins:
        if line["split"] == split:
            lines.setdefault((line["value"], line["id"]), []).append(line)
    tables = {}
    for value in dict.fromkeys(value for value, _ in lines):
        rows = [_row(lines.get((value, identifier), [])) for identifier in ids]
        if rows and rows[0] and all(row.keys() == rows[0].keys() for row in rows):
            numbers = sorted(rows[0])
            margins = np.array([[row[number][1] for number in numbers] for row in rows])
            beta = float(lines[value, ids[0]][0]["beta"])
            table = PairTable(tuple(rows[0][number][0] for number in numbers), margins, beta)
            if len(set(table.prompt_ids)) > 1:
                tables[value] = table
    return tables


def _row(lines: Sequence[Record]) -> Mapping[int, tuple[str, float]]:
    """A candidate's pairs of a value by number: the prompt and the margin."""
    return {
        line["first"] + k: entry
        for line in lines
        for k, entry in enumerate(zip(line["prompt_ids"], line["margins"], strict=True))
    }
