"""What may be said of a difference: one vocabulary for reports, sweeps, judges and the terminal.

- **better**, **worse**: the interval lies above 0, below 0;
- **no difference larger than d**: it lies within -d and d, the smallest difference that matters to you;
- **undecided**: anything else. It is no "no difference", and comes with the prompts or the seeds that would decide it.
"""

from dataclasses import dataclass
from typing import Literal

from mva.statistics.estimate import LEVEL, Interval
from mva.statistics.power import needs
from mva.statistics.rewards import MINIMUM_PROMPTS

Word = Literal["better", "worse", "no difference", "undecided"]


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

    What is to be told is the measured difference, or the rest up to the smallest one that matters: the easier of the
    two is taken (`mva.statistics.power`). Both numbers are above today's.
    """
    size = abs(difference.estimate)
    wanted = max(size, smallest_difference - size)
    variance = difference.variance
    needed = needs(variance, wanted, level=level)
    prompts = None if needed.prompts is None else max(needed.prompts, int(variance.n_prompts) + 1, MINIMUM_PROMPTS)
    seeds = None if needed.seeds is None else max(needed.seeds, int(variance.n_seeds) + 1)
    return prompts, seeds
