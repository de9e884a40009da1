"""A candidate: coefficients over the value vectors, and how they are composed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Candidate:
    """The policy `pi_base + sum_i omega_i theta_i` named by its coefficients.

    `coefficients` maps value name to omega; it may exceed 1 or lie below 0. Two candidates with the same
    coefficients (to six decimals) and composition have the same `id`.
    """

    coefficients: Mapping[str, float]
    composition: str = "linear"

    @property
    def id(self) -> str:
        """Content address: 12 hex digits of the sha256 of coefficients and composition."""
        rounded = {value: round(omega, 6) + 0.0 for value, omega in sorted(self.coefficients.items())}
        text = json.dumps([rounded, self.composition])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def convex(self) -> bool:
        """Whether the coefficients are none below 0 and sum to 1: a point of the simplex, as in rewarded soups."""
        omegas = self.coefficients.values()
        return min(omegas) >= 0 and abs(sum(omegas) - 1) < 1e-5  # coefficients are named to six decimals

    def vector(self, values: tuple[str, ...]) -> tuple[float, ...]:
        """List the coefficients in the order of `values`."""
        return tuple(self.coefficients[value] for value in values)


@dataclass(frozen=True, slots=True)
class ScoredCandidate:
    """A candidate with its scores: the mean reward per value, always maximised.

    `standard_errors` are those of the means over prompts, or over clusters of prompts where they come in clusters;
    `n_prompts` is how many prompts or clusters were used (of values with prompts of their own: the fewest).
    `disagreement` is the mean, over the responses, of the standard deviation over an ensemble's members; of those
    values whose reward is an ensemble. Scores by preference pairs are mean `log sigmoid`s, and come with `accuracies`.
    """

    candidate: Candidate
    scores: Mapping[str, float]
    standard_errors: Mapping[str, float]
    n_prompts: int
    split: str = "validation"
    seconds: float = 0.0
    disagreement: Mapping[str, float] = field(default_factory=dict)
    accuracies: Mapping[str, float] = field(default_factory=dict)


def coordinates(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """Place candidates by their coefficients; those of another composition are far away.

    Shape: `(n_candidates, n_vectors + n_compositions)`, the last columns (if there are several compositions) one-hot.
    """
    vectors = sorted({vector for candidate in candidates for vector in candidate.coefficients})
    compositions = sorted({candidate.composition for candidate in candidates})
    columns = [[candidate.coefficients.get(vector, 0.0) for candidate in candidates] for vector in vectors]
    if len(compositions) > 1:
        columns += [[float(candidate.composition == name) for candidate in candidates] for name in compositions]
    return np.array(columns).T
