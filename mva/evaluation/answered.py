"""What an evaluation knows of its responses: their rewards, without their texts."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Answered:
    """The rewards of the responses that are there: an array for each candidate, NaN where there is none yet.

    So a response takes 8 bytes a value, however long it is.
    """

    def __init__(self, values: Sequence[str], prompts: Sequence[str]) -> None:
        self.values = tuple(values)
        self._columns = {identifier: column for column, identifier in enumerate(prompts)}
        self._rewards: dict[str, Floats] = {}

    def add(self, candidate: str, prompt: str, rewards: Mapping[str, float]) -> None:
        """Note the rewards of a candidate's response to a prompt, both by id; a later response replaces an earlier."""
        if candidate not in self._rewards:
            self._rewards[candidate] = np.full((len(self.values), len(self._columns)), np.nan)
        self._rewards[candidate][:, self._columns[prompt]] = [rewards[value] for value in self.values]

    def missing(self, candidate: str) -> list[str]:
        """List the prompts, by id, that the candidate has no response to."""
        rewards = self._rewards.get(candidate)
        if rewards is None:
            return list(self._columns)
        return [identifier for identifier, column in self._columns.items() if np.isnan(rewards[0, column])]

    def whole(self, candidate: str) -> bool:
        """Say whether the candidate has a response to every prompt."""
        return candidate in self._rewards and not np.isnan(self._rewards[candidate][0]).any()

    def rewards(self, candidate: str) -> Floats:
        """The candidate's rewards. Shape: `(n_values, n_prompts)`."""
        return self._rewards[candidate]
