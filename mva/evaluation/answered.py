"""What an evaluation knows of its responses: their rewards, without their texts."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mva.evaluation.asking import Sample

Floats = NDArray[np.float64]


class Answered:
    """The rewards of the responses that are there: an array for each candidate, NaN where there is none yet.

    So a response takes 8 bytes a value, however long it is.
    """

    def __init__(self, values: Sequence[str], samples: Iterable[Sample]) -> None:
        self.values = tuple(values)
        self._columns = {sample: column for column, sample in enumerate(samples)}
        self._n_samples = 1 + max(sample.number for sample in self._columns)
        self._rewards: dict[str, Floats] = {}

    def add(self, candidate: str, sample: Sample, rewards: Mapping[str, float]) -> None:
        """Note the rewards of a candidate's response; a later response to the same sample replaces it."""
        if candidate not in self._rewards:
            self._rewards[candidate] = np.full((len(self.values), len(self._columns)), np.nan)
        self._rewards[candidate][:, self._columns[sample]] = [rewards[value] for value in self.values]

    def missing(self, candidate: str) -> list[Sample]:
        """List the samples that the candidate has no response to."""
        rewards = self._rewards.get(candidate)
        if rewards is None:
            return list(self._columns)
        return [sample for sample, column in self._columns.items() if np.isnan(rewards[0, column])]

    def whole(self, candidate: str) -> bool:
        """Say whether the candidate has all its responses."""
        return candidate in self._rewards and not np.isnan(self._rewards[candidate][0]).any()

    def rewards(self, candidate: str) -> Floats:
        """The candidate's mean rewards over the samples of each prompt. Shape: `(n_values, n_prompts)`."""
        by_sample = self._rewards[candidate].reshape(len(self.values), -1, self._n_samples)
        return np.asarray(by_sample.mean(axis=2))
