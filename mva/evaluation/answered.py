"""What an evaluation knows of its responses: their rewards, without their texts."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mva.evaluation.asking import Sample

Floats = NDArray[np.float64]
NOTHING: Mapping[str, float] = MappingProxyType({})


class Answered:
    """The rewards of the responses that are there: an array for each candidate, NaN where there is none yet.

    So a response takes 8 bytes a value, however long it is. The rewards of the values in `ensembles` have a
    disagreement, too, but for responses from versions that did not measure it.
    """

    def __init__(self, values: Sequence[str], samples: Iterable[Sample], ensembles: Iterable[str] = ()) -> None:
        self.values = tuple(values)
        self._ensembles = tuple(ensembles)
        self._columns = {sample: column for column, sample in enumerate(samples)}
        self._n_samples = 1 + max(sample.number for sample in self._columns)
        self._rewards: dict[str, Floats] = {}
        self._disagreement: dict[str, Floats] = {}

    def add(
        self, candidate: str, sample: Sample, rewards: Mapping[str, float], disagreement: Mapping[str, float] = NOTHING
    ) -> None:
        """Note the rewards of a candidate's response; a later response to the same sample replaces it."""
        column = self._columns[sample]
        self._array(self._rewards, candidate, len(self.values))[:, column] = [rewards[value] for value in self.values]
        if self._ensembles:
            spread = [disagreement.get(value, np.nan) for value in self._ensembles]
            self._array(self._disagreement, candidate, len(self._ensembles))[:, column] = spread

    def missing(self, candidate: str) -> list[Sample]:
        """List the samples that the candidate has no response to."""
        rewards = self._rewards.get(candidate)
        if rewards is None:
            return list(self._columns)
        return [sample for sample, column in self._columns.items() if np.isnan(rewards[0, column])]

    def whole(self, candidate: str) -> bool:
        """Say whether the candidate has all its responses."""
        return candidate in self._rewards and not np.isnan(self._rewards[candidate][0]).any()

    def mean_disagreement(self, candidate: str) -> dict[str, float]:
        """The disagreement of each ensemble, averaged over the candidate's responses; none where one lacks it."""
        spread = self._disagreement.get(candidate)
        if spread is None or np.isnan(spread).any():
            return {}
        return dict(zip(self._ensembles, spread.mean(axis=1).tolist(), strict=True))

    def _array(self, arrays: dict[str, Floats], candidate: str, n_rows: int) -> Floats:
        if candidate not in arrays:
            arrays[candidate] = np.full((n_rows, len(self._columns)), np.nan)
        return arrays[candidate]

    def rewards(self, candidate: str) -> Floats:
        """The candidate's mean rewards over the samples of each prompt. Shape: `(n_values, n_prompts)`."""
        by_sample = self._rewards[candidate].reshape(len(self.values), -1, self._n_samples)
        return np.asarray(by_sample.mean(axis=2))
