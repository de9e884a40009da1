"""Dominance among scored candidates. Scores are always maximised; shape `(n_candidates, n_values)`."""

from collections.abc import Iterable

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class NotFinite(ValueError):
    """Scores or standard errors with NaN or infinity, among which dominance means nothing."""


def as_scores(scores: ArrayLike, *, what: str = "score") -> Floats:
    """Take scores as a finite float64 matrix.

    Shape: `(n_candidates, n_values)`, kept; an empty list is a matrix of no candidates.

    Raises:
        NotFinite: Naming the rows that hold NaN or infinity.
        ValueError: If `scores` is no matrix.
    """
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.shape == (0,):
        matrix = matrix.reshape(0, 1)
    if matrix.ndim != 2:
        raise ValueError(f"{what}s must have the shape (n_candidates, n_values), not {matrix.shape}.")
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if bad.size:
        rows = ", ".join(str(row) for row in bad[:10]) + (", ..." if bad.size > 10 else "")
        raise NotFinite(f"Candidates {rows} (counted from 0) have a {what} that is NaN or infinite: score them anew.")
    return matrix


def non_dominated(scores: ArrayLike) -> NDArray[np.bool_]:
    """Mark the candidates that no other one dominates (at least as good in every value, better in one).

    Ties: equal candidates don't dominate each other, so exact duplicates are all kept or all dropped.

    Shape: `(n, k) -> (n,)`.

    Raises:
        NotFinite: If a score is NaN or infinite.
    """
    matrix = as_scores(scores)
    if len(matrix) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(moocore.is_nondominated(matrix, maximise=True, keep_weakly=True), dtype=bool)


def membership_probability(
    scores: ArrayLike, standard_errors: ArrayLike, *, draws: int = 1000, seed: int = 0
) -> Floats:
    """Estimate how probably each candidate is non-dominated, given how uncertain the scores are.

    Independent normal noise of the standard errors is added to all scores; the result is the share of
    `draws` in which the candidate is non-dominated. Without noise it is 0 or 1. Prompts are shared between
    candidates, so their errors are correlated in truth: this is on the cautious side.

    Shape: `scores` and `standard_errors` `(n, k)` -> `(n,)`, each in [0, 1].

    Raises:
        NotFinite: If a score or a standard error is NaN or infinite.
    """
    mean, error = as_scores(scores), as_scores(standard_errors, what="standard error")
    generator = np.random.default_rng(seed)
    return share_non_dominated(mean + error * generator.standard_normal(mean.shape) for _ in range(draws))


def share_non_dominated(replicates: Iterable[Floats]) -> Floats:
    """Say in which share of the replicates of the scores each candidate is non-dominated.

    Shape: `(n, k)` each -> `(n,)`, each in [0, 1].

    Raises:
        NotFinite: If a score is NaN or infinite.
    """
    return np.mean([non_dominated(scores) for scores in replicates], axis=0, dtype=np.float64)
