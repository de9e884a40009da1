"""Bradley-Terry weights of resampled preference pairs."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Array = NDArray[np.float64]


def differences(x: Array) -> tuple[Array, NDArray[np.int64]]:
    """Lay out what a fit without an intercept learns from.

    Differences of both signs have twice the Bradley-Terry likelihood.
    `x` are features, of the chosen responses and then of the rejected ones.
    Shape: `(2 n, d)` -> differences `(2 n, d)` and labels `(2 n,)`.
    """
    chosen, rejected = np.split(x, 2)
    return np.concatenate([chosen - rejected, rejected - chosen]), np.repeat([1, 0], len(chosen))


def resampled_weights(
    x: Array, prompts: Sequence[str], *, inverse_penalty: float, n: int, seed: int
) -> Iterator[Array]:
    """Fit `n` heads, each to as many prompts as there are, drawn with replacement; the pairs of a prompt stay together.

    `x` is as in `differences`, `prompts` names each pair's. `inverse_penalty` is the C of `||w||^2 / (2C)`, in units of
    each feature's standard deviation. The k-th head depends on `seed` and k alone.
    Shape: `(2 n_pairs, d)` and `(n_pairs,)` -> `n` times `(d,)`.
    """
    scale = np.maximum(x.std(axis=0), 1e-12)
    rows, labels = differences(x / scale)
    _, group = np.unique(prompts, return_inverse=True)
    n_groups = group.max() + 1
    for k in range(n):
        drawn = np.random.default_rng([seed, k]).integers(n_groups, size=n_groups)
        counts = np.tile(np.bincount(drawn, minlength=n_groups)[group], 2)
        there = counts > 0
        fit = LogisticRegression(C=inverse_penalty / 2, fit_intercept=False, max_iter=10_000)
        fit.fit(rows[there], labels[there], sample_weight=counts[there])
        yield fit.coef_[0] / scale


def standardised(x: Array, weight: Array) -> tuple[Array, float]:
    """Scale weights, and give the offset, so that the scores of `x` have mean 0 and standard deviation 1."""
    raw = x @ weight
    unit = max(raw.std(), 1e-12)
    return weight / unit, float(raw.mean() / unit)
