"""What may be said of a difference: one vocabulary for reports, sweeps, judges and the terminal.

- **better**, **worse**: the interval lies above 0, below 0;
- **no difference larger than d**: it lies within -d and d, the smallest difference that matters to you;
- **undecided**: anything else. It is no "no difference", and comes with the prompts or the seeds that would decide it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from mva.statistics.estimate import LEVEL, Interval, Variance
from mva.statistics.rewards import MINIMUM_PROMPTS

Word = Literal["better", "worse", "no difference", "undecided"]
POWER = 0.8
MOST_PROMPTS, MOST_SEEDS = 100_000, 1000


@dataclass(frozen=True)
class Verdict:
    """A word, the smallest difference that matters, and, of an undecided one, what would decide it.

    `prompts` and `seeds` are how many would decide with a probability of 80 %, the other number as it is; None where
    no number up to 100,000 prompts or 1,000 seeds would do alone.
    """

    word: Word
    smallest_difference: float
    prompts: int | None = None
    seeds: int | None = None

    def __str__(self) -> str:
        """In words."""
        if self.word == "no difference":
            return f"no difference larger than {self.smallest_difference:.3g}"
        return f"undecided, {self.needs}" if self.word == "undecided" else self.word

    @property
    def needs(self) -> str:
        """What would decide an undecided difference, in words."""
        parts = []
        if self.prompts is not None:
            parts.append(f"{self.prompts:,} prompts")
        if self.seeds is not None:
            parts.append(f"{self.seeds:,} seeds")
        return f"needs about {' or '.join(parts)}" if parts else "needs more prompts and seeds than can be said"


def verdict(difference: Interval, *, smallest_difference: float, level: float = LEVEL) -> Verdict:
    """Judge a difference, the first less the second, of which more is better.

    Fewer than `MINIMUM_PROMPTS` prompts are always undecided.
    """
    if difference.n_prompts >= MINIMUM_PROMPTS:
        if difference.low > 0:
            return Verdict("better", smallest_difference)
        if difference.high < 0:
            return Verdict("worse", smallest_difference)
        if -smallest_difference <= difference.low and difference.high <= smallest_difference:
            return Verdict("no difference", smallest_difference)
    return Verdict("undecided", smallest_difference, *what_decides(difference, smallest_difference, level=level))


def what_decides(
    difference: Interval, smallest_difference: float, *, level: float = LEVEL
) -> tuple[int | None, int | None]:
    """Find the number of prompts, and of seeds, at which a difference of this size is told, or shown to be small.

    Told with a probability of 80 % needs a standard error of `|difference| / (z + 0.84)`; shown to be small needs
    `(d - |difference|) / (z + 0.84)`: the easier of the two is taken.
    """
    z = float(norm.isf((1 - level) / 2) + norm.ppf(POWER))
    size = abs(difference.estimate)
    wanted = (max(size, smallest_difference - size) / z) ** 2
    variance = difference.variance
    now_prompts, now_seeds = variance.n_prompts, variance.n_seeds
    prompts = _least(variance, wanted, now_prompts, MOST_PROMPTS, along_seeds=False)
    seeds = _least(variance, wanted, now_seeds, MOST_SEEDS, along_seeds=True) if now_seeds > 1 else None
    return None if prompts is None else max(prompts, MINIMUM_PROMPTS), seeds


def _least(variance: Variance, wanted: float, now: int, most: int, *, along_seeds: bool) -> int | None:
    """The smallest number above today's with at most the wanted variance."""

    def reached(number: float) -> bool:
        at = (variance.n_prompts, number) if along_seeds else (number, variance.n_seeds)
        return variance.at(*at) <= wanted

    if not reached(most):
        return None
    low, high = float(now), float(most)
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return max(int(np.ceil(high)), now + 1)
