"""The covariance of a value's true scores over the coefficients, before the scores are seen.

    K = wide constant + a ((1 - rough) exp(-|w - w'|^2 / (2 length^2)) + rough [w = w'])

averaged over a grid of a, length and rough, each with the probability that its marginal likelihood gives it. Distances
are in units of the coefficients' widest range (`mva.statistics.noise.squared_distances`).
Source: Rasmussen and Williams 2006, Ch. 2 and 5.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from mva.statistics.rewards import Floats

LENGTHS = (0.35, 0.7, 1.4, 2.8)
AMPLITUDES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Variances of the surface, as multiples of the raw scores' variance; with prior probabilities as a^(-1/4)."""
ROUGH = {0.0: 0.9, 0.2: 0.1}
"""The share of a score that no neighbour tells, with its prior probability."""
_WIDE = 100.0


def averaged_prior(
    scores: Floats,
    distances: Floats,
    noise: Floats,
    *,
    lengths: Sequence[float] = LENGTHS,
    rough: Mapping[float, float] = ROUGH,
) -> Floats:
    """Average the surfaces' covariances by how well each explains one value's scores.

    Shape: `(n,)`, `(n, n)`, `(n, n)` (the covariance of the scores' noise) -> `(n, n)`.
    """
    n = len(scores)
    variance = max(float(scores.var()), 1e-6 * float(noise.diagonal().min()))
    constant = np.full((n, n), _WIDE * (variance + np.trace(noise) / n))
    shapes = [
        (variance * ((1 - share) * np.exp(-distances / (2 * length**2)) + share * np.eye(n)), np.log(weight))
        for length in lengths
        for share, weight in rough.items()
    ]
    kernels, weights = [], []
    for shape, weight in shapes:
        for amplitude in AMPLITUDES:
            kernel = amplitude * shape + constant
            likelihood = _log_likelihood(scores - scores.mean(), kernel + noise)
            kernels.append(kernel)
            weights.append(likelihood + weight - np.log(amplitude) / 4)
    shares = np.exp(np.array(weights) - max(weights))
    return np.asarray(np.tensordot(shares / shares.sum(), np.array(kernels), axes=1))


def solved(covariance: Floats, right: Floats) -> Floats:
    """Solve by Cholesky, with the least diagonal added that makes a matrix positive definite after rounding.

    Raises:
        ValueError: If nothing that small does.
    """
    scale = float(np.mean(np.diag(covariance)))
    for jitter in (0.0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6):
        try:
            factor = cho_factor(covariance + jitter * scale * np.eye(len(covariance)), lower=True)
        except LinAlgError:
            continue
        return np.asarray(cho_solve(factor, right))
    raise ValueError("The rewards have no covariance that can be inverted: score them anew.")


def _log_likelihood(scores: Floats, covariance: Floats) -> float:
    """Up to a constant; minus infinity where rounding leaves no positive definite covariance."""
    try:
        factor = cho_factor(covariance, lower=True)
    except LinAlgError:
        return -np.inf
    return float(-0.5 * scores @ cho_solve(factor, scores) - np.log(np.diag(factor[0])).sum())
