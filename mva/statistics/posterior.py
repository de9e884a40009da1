"""The true scores of a run's candidates, given their rewards: a smooth surface seen through the prompts' noise.

The best of noisy scores flatters. What is measured of a front is therefore measured on draws of the true scores:

    S ~ N(0, K),    scores | S ~ N(S, Sigma),    S | scores ~ N(K A^-1 scores, K A^-1 Sigma),    A = K + Sigma

- **K**, the prior of each value: a constant of wide variance plus `a ((1 - rough) exp(-|w - w'|^2 / (2 length^2)) +
  rough [w = w'])`, averaged over a grid of a, length and rough with the marginal likelihoods as weights. Candidates
  without a likeness among their coefficients (a vector each) are all equally far from each other: their scores are
  shrunk towards their mean, no more.
- **Sigma**: what prompts do (`mva.statistics.noise`).

A statistic `T` of the scores is estimated by its posterior mean, and each prompt's part in that estimate is the
derivative

    effect_p = Cov(T(S), S) Sigma^-1 (rewards_p - scores),

the Bayesian infinitesimal jackknife: a statistic of any form becomes a mean over prompts, and what holds for means
holds for it. Source: Giordano and Broderick 2023, arXiv 2305.06466 (effects); Rasmussen and Williams 2006, Ch. 2 and
5 (surface). How well it does: docs/statistics.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh

from mva.statistics.estimate import Estimate
from mva.statistics.noise import PromptNoise, prompt_noise, squared_distances
from mva.statistics.rewards import Floats, as_rewards

Statistic = Callable[[Floats], float]
DRAWS = 400
LENGTHS = (0.35, 0.7, 1.4, 2.8)
AMPLITUDES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Variances of the surface, as multiples of the raw scores' variance; with prior probabilities as a^(-1/4)."""
ROUGH = {0.0: 0.9, 0.2: 0.1}
"""The share of a score that no neighbour tells, with its prior probability."""
_WIDE = 100.0


@dataclass(frozen=True, eq=False)
class ScorePosterior:
    """Draws of a run's true scores.

    Shape: `scores` (the raw means) `(n, k)`, `draws` `(n_draws, n, k)`, `leverage` `(n_prompts, n_draws)`: the part
    of a prompt in the probability of a draw.
    """

    scores: Floats
    draws: Floats
    leverage: Floats

    @classmethod
    def of(cls, coordinates: ArrayLike, rewards: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> "ScorePosterior":
        """Fit the surface and draw from it.

        Args:
            coordinates: What places a candidate among the others: its coefficients. Shape: `(n, d)`.
            rewards: Shape: `(n, n_prompts, k)`.
            draws: Number of draws, even: each comes with its mirror image.
            seed: Of the draws.

        Raises:
            ValueError: If the rewards are no finite ones on two or more prompts, or there is not a row of coordinates
            for each.
        """
        array, points = as_rewards(rewards), np.asarray(coordinates, dtype=np.float64)
        if points.ndim != 2 or len(points) != len(array):
            raise ValueError(f"There are {len(array)} candidates, but coordinates of the shape {points.shape}.")
        n, n_prompts, k = array.shape
        scores = array.mean(axis=1)
        distances = squared_distances(points)
        noise = prompt_noise(array, distances)
        joint_noise = noise.joint()
        prior = np.zeros((n, k, n, k))
        for value in range(k):
            prior[:, value, :, value] = _prior(scores[:, value], distances, noise, value)
        gain = _solved(prior.reshape(n * k, n * k) + joint_noise, prior.reshape(n * k, n * k)).T
        centre = scores.mean(axis=0)
        mean = gain @ (scores - centre).ravel()
        deviations = _deviations(gain @ joint_noise, draws, seed)
        residuals = (array - scores[:, None]).transpose(1, 0, 2).reshape(n_prompts, n * k)
        leverage = _solved(joint_noise, residuals.T).T @ deviations.T
        return cls(scores, (mean + deviations).reshape(-1, n, k) + centre, leverage)

    def estimate(self, statistic: Statistic) -> Estimate:
        """Estimate a statistic of the true scores `(n, k)`: its posterior mean, and each prompt's part in it."""
        measured = np.array([statistic(scores) for scores in self.draws])
        return self.estimate_from(measured, raw=statistic(self.scores))

    def estimate_from(self, measured: Floats, *, raw: float) -> Estimate:
        """As `estimate`, from the statistic of every draw `(n_draws,)` and of the raw scores."""
        value = float(measured.mean())
        effects = self.leverage @ (measured - value) / len(measured)
        explained = effects.var(ddof=1) / len(effects)
        return Estimate(value, effects, raw, max(float(measured.var()) - float(explained), 0.0))


def _prior(scores: Floats, distances: Floats, noise: PromptNoise, value: int) -> Floats:
    """Average the surfaces' covariances by how well each explains one value's scores. Shape: `(n, n)`."""
    n, sigma = len(scores), noise.of_value(value)
    variance = max(float(scores.var()), 1e-6 * float(sigma.diagonal().min()))
    constant = np.full((n, n), _WIDE * (variance + np.trace(sigma) / n))
    shapes = [
        (variance * ((1 - rough) * np.exp(-distances / (2 * length**2)) + rough * np.eye(n)), np.log(weight))
        for length in LENGTHS
        for rough, weight in ROUGH.items()
    ]
    kernels, weights = [], []
    for shape, weight in shapes:
        for amplitude in AMPLITUDES:
            kernel = amplitude * shape + constant
            likelihood = _log_likelihood(scores - scores.mean(), kernel + sigma)
            kernels.append(kernel)
            weights.append(likelihood + weight - np.log(amplitude) / 4)
    shares = np.exp(np.array(weights) - max(weights))
    return np.asarray(np.tensordot(shares / shares.sum(), np.array(kernels), axes=1))


def _solved(covariance: Floats, right: Floats) -> Floats:
    """Solve by Cholesky, with the least diagonal added that makes a matrix positive definite after rounding."""
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


def _deviations(covariance: Floats, draws: int, seed: int) -> Floats:
    """Draw deviations, mirrored, with exactly their variance in the largest directions. Shape: `(draws, n)`."""
    variances, directions = eigh((covariance + covariance.T) / 2)
    roots = (directions * np.sqrt(np.maximum(variances, 0)))[:, ::-1]
    half = draws // 2
    noise = np.random.default_rng([seed, 7]).standard_normal((half, len(covariance)))
    exact = min(len(covariance), half // 2)
    # Statistics are nearly linear in the largest directions: else chance in them would count as the prompts' noise.
    noise[:, :exact] = np.linalg.qr(noise[:, :exact])[0] * np.sqrt(half)
    return np.concatenate([noise, -noise]) @ roots.T
