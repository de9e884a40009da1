"""What a candidate's responses cost beside their rewards: length, refusals, repetition."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from mva.analysis.text_statistics import length, refusal, repeated_4grams
from mva.runs.run_folder import Record

SIDE_COSTS: Mapping[str, Callable[[str], float]] = {
    "words": length,
    "refusals": refusal,
    "repetition": repeated_4grams,
}
SHARES = frozenset({"refusals", "repetition"})
"""The side costs that lie between 0 and 1."""


def costs_of(line: Record) -> list[float]:
    """Measure a response, in the order of `SIDE_COSTS`."""
    return [measure(line["response"]) for measure in SIDE_COSTS.values()]


def side_costs(generations: Iterable[Record]) -> dict[tuple[str, str], dict[str, float]]:
    """Average over the samples of a prompt, then over prompts, by candidate and split."""
    measured: dict[tuple[str, str], dict[str, list[list[float]]]] = {}
    for line in generations:
        prompts = measured.setdefault((line["id"], line["split"]), {})
        prompts.setdefault(line["prompt_id"], []).append(costs_of(line))
    return {
        where: dict(zip(SIDE_COSTS, _mean(list(prompts.values())), strict=True)) for where, prompts in measured.items()
    }


def _mean(prompts: list[list[list[float]]]) -> list[float]:
    means: list[float] = np.mean([np.mean(samples, axis=0) for samples in prompts], axis=0).tolist()
    return means
