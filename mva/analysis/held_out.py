"""Runs on the held-out prompts that they share: what may be compared at all."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mva.analysis.prompt_rewards import by_pairs, prompt_rewards
from mva.runs.run_folder import RunFiles

Scores = NDArray[np.float64]


class NotComparable(ValueError):
    """Runs whose scores do not mean the same."""


def held_out_rewards(run: RunFiles, values: Sequence[str], candidates: Sequence[str] | None = None) -> Scores:
    """Rewards of the front's candidates, or of those named. Shape: `(n_points, n_prompts or n_clusters, n_values)`."""
    assert run.front is not None
    ids = [point.id for point in run.front.points] if candidates is None else candidates
    rewards = prompt_rewards(run, ids, "test", values)
    assert rewards is not None
    return rewards


def check_comparable(runs: Iterable[RunFiles]) -> int:
    """Check that runs can be compared, and count the held-out prompts that all of them share.

    Raises:
        NotComparable: If a run has no front on held-out prompts, runs differ in rewards or prompts, or there are fewer
            than two prompts.
    """
    keys, prompts = set(), set()
    for run in runs:
        if run.front is None or any(point.scores_held_out is None for point in run.front.points):
            raise NotComparable(f"{run.folder} has no front on held-out prompts: run it again to go on.")
        keys.add(tuple(sorted(run.measures.items())))
        prompts.add(frozenset(_prompts(run)))
    if len(keys) != 1 or len(prompts) != 1:
        what = "rewards" if len(keys) != 1 else "held-out prompts"
        raise NotComparable(
            f"The runs were scored by different {what}: compare runs of one data, model and evaluation."
        )
    (shared,) = prompts
    if len(shared) < 2:
        raise NotComparable("The runs have fewer than two held-out prompts: raise evaluation.n_test_prompts.")
    return len(shared)


def _prompts(run: RunFiles) -> Iterator[str]:
    if not by_pairs(run):
        yield from (line["prompt_id"] for line in run.generations if line["split"] == "test")
        return
    for line in run.margins:
        if line["split"] == "test":
            yield from line["prompt_ids"]
