"""The true scores of a run's candidates, given their rewards: a smooth surface seen through the prompts' noise.

The best of noisy scores flatters. What is measured of a front is therefore measured on draws of the true scores:

    S ~ N(0, K),    scores | S ~ N(S, Sigma),    S | scores ~ N(K A^-1 scores, K A^-1 Sigma),    A = K + Sigma

- **K**, the prior of each value: a constant of wide variance plus `a ((1 - rough) exp(-|w - w'|^2 / (2 length^2)) +
  rough [w = w'])`, averaged over a grid of a, length and rough (`mva.statistics.prior`). Candidates
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
from scipy.linalg import eigh

from mva.statistics.estimate import Estimate
from mva.statistics.noise import prompt_noise, squared_distances
from mva.statistics.prior import averaged_prior, solved
from mva.statistics.rewards import Floats, as_rewards

Statistic = Callable[[Floats], float]
DRAWS = 400


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
            prior[:, value, :, value] = averaged_prior(scores[:, value], distances, noise.of_value(value))
        gain = solved(prior.reshape(n * k, n * k) + joint_noise, prior.reshape(n * k, n * k)).T
        centre = scores.mean(axis=0)
        mean = gain @ (scores - centre).ravel()
        deviations = _deviations(gain @ joint_noise, draws, seed)
        residuals = (array - scores[:, None]).transpose(1, 0, 2).reshape(n_prompts, n * k)
        leverage = solved(joint_noise, residuals.T).T @ deviations.T
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
