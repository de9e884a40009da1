"""How many prompts and seeds detect a difference: one calculation for verdicts and for plans (`mva-power`).

A difference d is detected where its interval leaves 0. With n prompts and S seeds its variance V(n, S) and
Satterthwaite's degrees of freedom follow from the split of the measured one (`Variance.projected`), and

    power(n, S) = P(|T| > t_df),    T ~ noncentral t with df degrees of freedom and mean d / sqrt(V(n, S)).

The measured variance is itself uncertain, most of all its seeds' part: that of three seeds has two degrees of freedom,
and is too small in more than half of all pilots. It is therefore taken as `df * measured / q`, with q the median of
chi-square with df degrees of freedom, and the prompts' part likewise with its 40 % quantile. With that, promises of
80 % deliver about 80 % [simulated, docs/statistics.md].

Source: Johnson and Welch 1940, Biometrika 31 (the noncentral t's normal approximation).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2, norm, t

from mva.statistics.estimate import LEVEL, Variance
from mva.statistics.rewards import MINIMUM_PROMPTS

POWER = 0.8
MOST_PROMPTS, MOST_SEEDS = 100_000, 1000
_OF_PROMPTS, _OF_SEEDS = 0.4, 0.5


@dataclass(frozen=True)
class Needs:
    """How many prompts, or seeds, detect a difference with a probability of 80 %, the other number as it is.

    None where no number up to 100,000 prompts or 1,000 seeds would do alone.
    """

    prompts: int | None
    seeds: int | None


def power_of(variance: Variance, difference: float, *, n_prompts: float, n_seeds: float, level: float = LEVEL) -> float:
    """The probability that a difference of this size is told with so many prompts and seeds.

    `variance` is the measured one; with a single seed it has no seeds' part, and the answer speaks of these vectors.
    """
    return _power(cautious(variance).projected(n_prompts, n_seeds), abs(difference), level=level)


def needs(variance: Variance, difference: float, *, level: float = LEVEL) -> Needs:
    """Find the least numbers, none below today's, that detect a difference of this size with a probability of 80 %."""
    now_prompts, now_seeds = int(variance.n_prompts), int(variance.n_seeds)

    def with_prompts(number: float) -> bool:
        return power_of(variance, difference, n_prompts=number, n_seeds=now_seeds, level=level) >= POWER

    def with_seeds(number: float) -> bool:
        return power_of(variance, difference, n_prompts=now_prompts, n_seeds=number, level=level) >= POWER

    prompts = least(with_prompts, max(now_prompts, MINIMUM_PROMPTS), MOST_PROMPTS)
    return Needs(prompts, least(with_seeds, now_seeds, MOST_SEEDS) if now_seeds > 1 else None)


def detectable(variance: Variance, *, n_prompts: float, n_seeds: float, level: float = LEVEL) -> float:
    """The size of the difference that so many prompts and seeds detect with a probability of 80 %."""
    planned = cautious(variance).projected(n_prompts, n_seeds)
    standard_error = float(np.sqrt(planned.total))
    low, high = 0.0, 1.0
    while _power(planned, high * standard_error, level=level) < POWER and standard_error > 0:
        low, high = high, 2 * high
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _power(planned, middle * standard_error, level=level) >= POWER else (middle, high)
    return high * standard_error


def least(enough: Callable[[int], bool], now: int, most: int) -> int | None:
    """Find the smallest whole number from `now` on that is enough; None if `most` is not."""
    if enough(now):
        return now
    if not enough(most):
        return None
    low, high = now, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def cautious(variance: Variance) -> Variance:
    """Take the measured variance as what it may well be (see above)."""
    of_prompts = _inflation(variance.n_prompts - 1, _OF_PROMPTS)
    if variance.n_seeds == 1:
        return replace(variance, prompts=variance.prompts * of_prompts)
    of_seeds = _inflation(variance.df_per_seed * (variance.n_seeds - 1), _OF_SEEDS)
    between = max(variance.seeds + variance.interaction, 0.0)
    interaction = variance.interaction * of_prompts
    return replace(
        variance,
        prompts=variance.prompts * of_prompts,
        interaction=interaction,
        seeds=between * of_seeds - interaction,
    )


def _inflation(freedom: float, quantile: float) -> float:
    return float(freedom / chi2.ppf(quantile, freedom))


def _power(variance: Variance, difference: float, *, level: float) -> float:
    if variance.total <= 0:
        return float(difference > 0)
    mean = difference / float(np.sqrt(variance.total))
    limit = float(t.isf((1 - level) / 2, variance.df))
    # The normal approximation of the noncentral t, within 0.02; SciPy's own gives NaN far out.
    scale = float(np.sqrt(1 + limit**2 / (2 * variance.df)))
    shrunk = limit * (1 - 1 / (4 * variance.df))
    return float(norm.cdf((mean - shrunk) / scale) + norm.cdf((-mean - shrunk) / scale))
