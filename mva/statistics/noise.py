"""What the choice of prompts does to a run's scores: the covariance of its mean rewards.

All candidates answer the same prompts, so their errors are correlated. The covariance between candidates i and j has
three parts, which the residuals of the rewards are split into by non-negative least squares, value by value:

    n_prompts * Sigma_ij = v_shared + v_alike * exp(-|w_i - w_j|^2 / (2 * 0.5^2)) + v_own * [i = j]

- **shared**: an easy prompt lifts every candidate; it moves a front as a whole and cancels in differences;
- **alike**: candidates with coefficients w close to each other give like responses;
- **own**: what a prompt does to a candidate alone, the noise of decoding included.

Between two values all parts have the correlation of the residuals. Coefficients are in units of their widest range.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from mva.statistics.rewards import Floats

ALIKE = 0.5
"""The length, as a share of the coefficients' range, within which responses are taken to be alike."""
_FLOOR = 1e-8
_APART = 1e-3


def squared_distances(coordinates: Floats) -> Floats:
    """Distances of candidates, in units of the widest range of a coordinate. Shape: `(n, d) -> (n, n)`."""
    scaled = coordinates / (np.ptp(coordinates, axis=0).max(initial=0.0) or 1.0)
    return np.asarray(((scaled[:, None] - scaled[None]) ** 2).sum(axis=-1))


@dataclass(frozen=True, eq=False)
class PromptNoise:
    """The covariance of the mean rewards of one run.

    Shape: `structures` `(3, n, n)` (shared, alike, own), `variances` `(3, k)` of a mean over the prompts,
    `correlation` `(k, k)`.
    """

    structures: Floats
    variances: Floats
    correlation: Floats

    def of_value(self, value: int) -> Floats:
        """The covariance of one value's scores. Shape: `(n, n)`."""
        return np.asarray(np.tensordot(self.variances[:, value], self.structures, axes=1))

    def joint(self) -> Floats:
        """The covariance of all scores, candidate by candidate. Shape: `(n * k, n * k)`."""
        spreads = np.sqrt(self.variances)
        blocks = self.correlation * spreads[:, :, None] * spreads[:, None, :]
        joint = np.einsum("bij,bkl->ikjl", self.structures, blocks)
        size = joint.shape[0] * joint.shape[1]
        return joint.reshape(size, size)


def prompt_noise(rewards: Floats, distances: Floats) -> PromptNoise:
    """Split what prompts do to a run's rewards into its parts.

    Shape: `rewards` `(n, n_prompts, k)`, `distances` `(n, n)` squared, see `squared_distances`.
    """
    n, n_prompts, k = rewards.shape
    scores = rewards.mean(axis=1)
    residuals = rewards - scores[:, None]
    structures = np.stack([np.ones((n, n)), np.exp(-distances / (2 * ALIKE**2)), np.eye(n)])
    variances = np.zeros((3, k))
    for value in range(k):
        covariance = residuals[:, :, value] @ residuals[:, :, value].T / (n_prompts - 1)
        variances[:, value] = _parts(covariance, structures)
        # Scores without noise of their own would have to lie on a smooth surface to the last digit.
        variances[2, value] += _FLOOR * (np.trace(covariance) / n + n_prompts * scores[:, value].var()) + _tiny(
            scores[:, value]
        )
    return PromptNoise(structures, variances / n_prompts, _correlation(residuals.reshape(n * n_prompts, k)))


def _tiny(scores: Floats) -> float:
    """A variance that is none beside the scores, but above what rounding leaves of it."""
    return 1e-20 * float((scores**2).mean()) + 1e-30


def _parts(covariance: Floats, structures: Floats) -> Floats:
    """Fit the three variances of one prompt. Shape: `(n, n)`, `(3, n, n)` -> `(3,)`.

    What all candidates share is taken off first (their mean over each prompt), so that it can't disturb the others,
    however large it is.
    """
    if len(covariance) == 1:
        return np.array([0.0, 0.0, covariance[0, 0]])
    centred = _centred(covariance[None])[0]
    fitted = _centred(structures[1:])
    gram = np.einsum("aij,bij->ab", fitted, fitted)
    alike, own = nnls(gram, np.einsum("aij,ij->a", fitted, centred))[0] if centred.any() else (0.0, 0.0)
    shared = covariance.mean() - alike * structures[1].mean() - own * structures[2].mean()
    return np.array([max(float(shared), 0.0), alike, own])


def _centred(matrices: Floats) -> Floats:
    """Take the mean off rows and columns. Shape: `(m, n, n)`, kept."""
    rows = matrices - matrices.mean(axis=1, keepdims=True)
    return np.asarray(rows - rows.mean(axis=2, keepdims=True))


def _correlation(residuals: Floats) -> Floats:
    covariance = residuals.T @ residuals
    spreads = np.sqrt(np.diag(covariance))
    spreads[spreads == 0] = 1.0
    # Values that noise moves in the very same way would leave no covariance that can be inverted.
    correlation = (1 - _APART) * covariance / np.outer(spreads, spreads)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation)
