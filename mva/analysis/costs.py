"""What runs took on this machine, by their own records: a response, a job's start, a seed's vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mva.runs.run_folder import RunFiles

_OF_RESPONSES = ("Explore combinations", "Score the front on held-out prompts")
_OF_VECTORS = ("Train", "Measure dependence", "Compare with training")


@dataclass(frozen=True)
class Costs:
    """Seconds, averaged over runs: of a response, of a job's start, of a seed's vectors.

    `response` is generated and scored; `start` is what a job takes beside responses and vectors (model, rewards,
    report); `training` is what the vectors take. `n_validation` responses are given on validation prompts; `n_again`
    are given on each held-out prompt, by the candidates that are scored again.
    """

    response: float
    start: float
    training: float
    n_validation: float
    n_again: float

    def job(self, n_held_out: float) -> float:
        """Explore vectors that are there with so many held-out prompts; responses are generated again."""
        return self.start + self.response * (self.n_validation + n_held_out * self.n_again)

    def seed(self, n_held_out: float) -> float:
        """Train a seed's vectors and explore them."""
        return self.training + self.job(n_held_out)


def costs_of(runs: Sequence[RunFiles]) -> Costs:
    """Average what runs took.

    Vectors that a run found in the store count what they took when they were trained.
    """
    columns = zip(*(_of_run(run) for run in runs), strict=True)
    return Costs(*(float(np.mean(column)) for column in columns))


def held_out_prompts(run: RunFiles) -> int:
    """How many held-out prompts a run answered."""
    return len({line["prompt_id"] for line in run.generations if line["split"] == "test"})


def prompts_there(run: RunFiles, split: str) -> int | None:
    """At most how many prompts the run's data has in a split; None if that was not written down."""
    if not run.data:
        return None
    return sum(int(facts["counts"][split]) for facts in run.data.values())


def _of_run(run: RunFiles) -> tuple[float, float, float, float, float]:
    responses = max(len(run.generations), 1)
    seconds = sum(line["seconds"] for line in run.candidates)
    stages = {stage["name"]: stage["seconds"] for stage in run.stages}
    trained = sum(taken for name, taken in stages.items() if name.startswith(_OF_VECTORS))
    stored = [vector["cost"]["seconds"] for vector in run.training.get("vectors", {}).values() if vector["cost"]]
    start = sum(stages.values()) - trained - sum(stages.get(name, 0.0) for name in _OF_RESPONSES)
    n_validation = sum(line["split"] == "validation" for line in run.generations)
    prompts = held_out_prompts(run)
    n_again = (responses - n_validation) / prompts if prompts else 0.0
    return seconds / responses, start, max(trained, sum(stored)), n_validation, n_again
