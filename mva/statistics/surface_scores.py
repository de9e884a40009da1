"""Scores read off a surface: what the neighbours in the coefficients, and the prompts' noise, say of a score.

Value by value, the scores y of n candidates are a smooth surface seen through what prompts do to all candidates, to
those that are alike and to each alone:

    mean = c + K A^-1 (y - c),    covariance = K A^-1 Sigma,    A = K + Sigma

with K of `mva.statistics.prior`, Sigma of `mva.statistics.noise`, and c the mean of y. A value whose scores do not lie
on a smooth surface (`mva.statistics.lack_of_fit`) is not to be read off it. How much nearer to the truth the others
are: docs/statistics.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mva.statistics.lack_of_fit import lack_of_fit
from mva.statistics.noise import prompt_noise, squared_distances
from mva.statistics.prior import averaged_prior, solved
from mva.statistics.rewards import Floats, as_rewards

FEWEST, MOST = 6, 1500
"""Candidates that a surface is fitted to: fewer say nothing of its form, more take minutes."""
LACK_OF_FIT = 0.05
"""The level of the test that switches a value's surface off."""


_MOST_WORTH = 1e6


@dataclass(frozen=True, eq=False)
class SurfaceScores:
    """Scores read off a surface, their standard errors over prompts, and how well each value's surface fits.

    Shape: `means` and `errors` `(n, k)`, `p_values` `(k,)` (see `lack_of_fit`), `worth` `(k,)`: for differences between
    candidates, how many times the prompts raw means would need for the same standard errors.
    """

    means: Floats
    errors: Floats
    p_values: Floats
    worth: Floats

    @property
    def fits(self) -> NDArray[np.bool_]:
        """Which values' scores may be read off their surface. Shape: `(k,)`."""
        return np.asarray(self.p_values >= LACK_OF_FIT)


def surface_scores(coordinates: ArrayLike, rewards: ArrayLike) -> SurfaceScores | None:
    """Read every value's scores off its surface; None where there is no surface to speak of.

    That is with fewer candidates than `FEWEST` or more than `MOST`, and where each has a vector to itself: then
    nothing is between them.

    Shape: `(n, d)`, `(n, n_prompts, k)`.

    Raises:
        ValueError: As `as_rewards`.
    """
    array = as_rewards(rewards)
    points = np.asarray(coordinates, dtype=np.float64)
    if not FEWEST <= len(array) <= MOST or _each_has_its_own(points):
        return None
    scores = array.mean(axis=1)
    distances = squared_distances(points)
    noise = prompt_noise(array, distances)
    columns = [_of_value(scores[:, value], distances, noise.of_value(value)) for value in range(array.shape[2])]
    means, errors, p_values, worth = (np.array(column).T for column in zip(*columns, strict=True))
    return SurfaceScores(means, errors, p_values, worth)


def _each_has_its_own(points: Floats) -> bool:
    """Say whether every candidate is a vector alone (or none), and no two are of the same."""
    used = points != 0
    return bool(used.sum(axis=1).max() <= 1 and used.sum(axis=0).max() <= 1)


def _of_value(scores: Floats, distances: Floats, noise: Floats) -> tuple[Floats, Floats, float, float]:
    centre = scores.mean()
    prior = averaged_prior(scores, distances, noise)
    gain = solved(prior + noise, prior).T
    covariance = gain @ noise
    errors = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
    raw = _of_differences(noise)
    worth = raw / max(_of_differences(covariance), raw / _MOST_WORTH)
    return centre + gain @ (scores - centre), errors, lack_of_fit(scores, distances, noise), worth


def _of_differences(covariance: Floats) -> float:
    """The mean variance of a difference between two candidates, halved."""
    n = len(covariance)
    return float((covariance.trace() - covariance.sum() / n) / (n - 1))
