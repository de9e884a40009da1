"""A value's scores over the coefficients, as a Gaussian process that knows how noisy each score is.

    y = f(w) + e,    f ~ GP(0, k),    e_i ~ N(0, t s_i^2)
    mean = K_* A^-1 y,    covariance = K_** - K_* A^-1 K_*^T,    A = K + diag(t s^2)

s_i is the score's standard error. Part of it is what prompts do to all candidates alike, which no difference between
candidates holds: so a factor t of at most 1 is chosen, with the kernel, by the marginal likelihood (Rasmussen and
Williams 2006, Ch. 2 and 5). Coefficients are scaled to [0, 1] by the box.

- **smooth**: a plane of wide variance plus `a exp(-|w - w'|^2 / (2 length^2))`;
- **quadratic**: `f(w) = b_0 + sum_i b_i w_i + sum_{i <= j} b_ij w_i w_j` with independent normal coefficients. Its
  cross terms b_ij are the interference between vectors i and j.
"""

from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

Floats = NDArray[np.float64]
Kernel = Callable[[Floats, Floats], Floats]
Form = Literal["smooth", "quadratic"]

LENGTHS = (0.3, 0.6, 1.2, 2.4)
AMPLITUDES = (0.1, 0.3, 1.0, 3.0)
"""Variances of the surface, of scores with the variance 1."""
NOISE = (0.1, 0.3, 1.0)
"""Shares of the standard errors' variance that differences between candidates hold."""
_WIDE = 10.0
_JITTER = 1e-6


class ResponseSurface:
    """The posterior of one value's scores; any number of points may be asked for."""

    def __init__(self, form: Form, points: Floats, scores: Floats, errors: Floats) -> None:
        """Fit the surface. Shape: `points` `(n, d)` in [0, 1]^d, `scores` and their standard `errors` `(n,)`."""
        self._points = points
        self._centre, self._scale = float(scores.mean()), float(scores.std()) or 1.0
        self._scores = (scores - self._centre) / self._scale
        kernels = list(_KERNELS[form]())
        fits = [
            _fit(kernel(points, points), self._scores, share * (errors / self._scale) ** 2)
            for kernel, share in product(kernels, NOISE)
        ]
        best = int(np.argmax([likelihood for likelihood, _ in fits]))
        self._kernel = kernels[best // len(NOISE)]
        self._factor = fits[best][1]

    def draw(self, points: Floats, normals: Floats) -> Floats:
        """Draw scores at `points` together. Shape: `(m, d)`, standard normal `(n_draws, m)` -> `(n_draws, m)`."""
        cross = self._kernel(points, self._points)
        mean = cross @ cho_solve(self._factor, self._scores)
        covariance = self._kernel(points, points) - cross @ cho_solve(self._factor, cross.T)
        root = np.linalg.cholesky(covariance + _JITTER * np.eye(len(points)))
        return np.asarray(self._centre + self._scale * (mean + normals @ root.T))


def smooth() -> Iterator[Kernel]:
    """The smooth kernels, one for each length and amplitude."""
    for length, amplitude in product(LENGTHS, AMPLITUDES):

        def kernel(first: Floats, second: Floats, length: float = length, amplitude: float = amplitude) -> Floats:
            distances = ((first[:, None] - second[None]) ** 2).sum(axis=-1)
            plane = _WIDE * (1 + (first - 0.5) @ (second - 0.5).T)
            return np.asarray(plane + amplitude * np.exp(-distances / (2 * length**2)))

        yield kernel


def quadratic() -> Iterator[Kernel]:
    """The quadratic kernels, one for each variance of the terms of second order."""
    for amplitude in AMPLITUDES:

        def kernel(first: Floats, second: Floats, amplitude: float = amplitude) -> Floats:
            plane = _WIDE * (1 + (first - 0.5) @ (second - 0.5).T)
            return np.asarray(plane + 4 * amplitude * _products(first) @ _products(second).T)

        yield kernel


def _products(points: Floats) -> Floats:
    """The terms of second order, around the box's middle. Shape: `(n, d) -> (n, d (d + 1) / 2)`."""
    centred = points - 0.5
    pairs = combinations_with_replacement(range(points.shape[1]), 2)
    return np.stack([centred[:, i] * centred[:, j] for i, j in pairs], axis=1)


_KERNELS: dict[Form, Callable[[], Iterator[Kernel]]] = {"smooth": smooth, "quadratic": quadratic}


def _fit(kernel: Floats, scores: Floats, noise: Floats) -> tuple[float, tuple[Floats, bool]]:
    """The log marginal likelihood up to a constant, and the factor of the scores' covariance."""
    covariance = kernel + np.diag(noise + _JITTER)
    try:
        factor = cho_factor(covariance, lower=True)
    except LinAlgError:
        return -np.inf, (covariance, True)
    likelihood = -0.5 * scores @ cho_solve(factor, scores) - np.log(np.diag(factor[0])).sum()
    return float(likelihood), factor
