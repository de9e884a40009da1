"""Dominance among scored candidates. Scores are always maximised; shape `(n_candidates, n_values)`."""

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
