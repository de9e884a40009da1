"""Do scores lie on a smooth surface over the coefficients? A test of one value's residuals against their noise.

Where they do, the scores y, less their mean, are N(0, A) with A = K + Sigma: K the covariance of a smooth surface,
whose length is at least 0.7 of the coefficients' range, Sigma the prompts' noise. What the surface leaves over is
`residuals = Sigma A^-1 y`, and two things are looked at:

    Q = residuals' Sigma^-1 residuals = y' A^-1 Sigma A^-1 y    all residuals together: a sum of weighted chi-squares
    z_i = (A^-1 y)_i / sqrt((A^-1)_ii)                          each candidate against all others: standard normal

Q sees a roughness everywhere, the largest |z_i| a single candidate that falls off, such as a corner at which texts
fall apart. The smaller of the two p-values, doubled, is the test's. How often it errs, and what it sees, is simulated
in docs/statistics.md.

Source: Rasmussen and Williams 2006, 5.4.2 (each against all others); Imhof 1961, Biometrika 48, eq. 5.1 (three moments
of a sum of weighted chi-squares).
"""

import numpy as np
from scipy.stats import chi2, norm

from mva.statistics.prior import LENGTHS, averaged_prior, solved
from mva.statistics.rewards import Floats

SMOOTH = tuple(length for length in LENGTHS if length >= 0.7)
_NONE = 1e-12


def lack_of_fit(scores: Floats, distances: Floats, noise: Floats) -> float:
    """Test whether one value's scores lie on a smooth surface; a small p-value says that they do not.

    Shape: `(n,)`, squared distances `(n, n)`, covariance of the scores' noise `(n, n)`.

    Raises:
        ValueError: If no surface has a covariance that can be inverted.
    """
    centred = scores - scores.mean()
    covariance = averaged_prior(scores, distances, noise, lengths=SMOOTH, rough={0.0: 1.0}) + noise
    precision = solved(covariance, np.eye(len(scores)))
    weighted = precision @ centred
    weights = _common_eigenvalues(precision, noise)
    together = _exceeds(float(weighted @ noise @ weighted), weights[weights > _NONE])
    largest = float(np.max(np.abs(weighted) / np.sqrt(precision.diagonal())))
    alone = min(1.0, 2 * len(scores) * float(norm.sf(largest)))
    return min(1.0, 2 * min(together, alone))


def _common_eigenvalues(precision: Floats, noise: Floats) -> Floats:
    """The eigenvalues of `precision @ noise`, of two symmetric matrices: those of one symmetric matrix."""
    variances, directions = np.linalg.eigh(noise)
    root = directions * np.sqrt(np.maximum(variances, 0.0))
    return np.asarray(np.linalg.eigvalsh(root.T @ precision @ root), dtype=np.float64)


def _exceeds(value: float, weights: Floats) -> float:
    """The probability that `sum_i weights_i chi_i^2` is larger, by its first three moments."""
    first, second, third = (float((weights**power).sum()) for power in (1, 2, 3))
    freedom = second**3 / third**2
    return float(chi2.sf((value - first) * np.sqrt(freedom / second) + freedom, freedom))
