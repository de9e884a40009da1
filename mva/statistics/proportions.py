"""Proportions with ties: win rates, and how often a reward agrees with preference pairs.

Outcomes are 1, 1/2 (a tie) or 0; with a share t of ties their variance is p (1 - p) - t / 4. The interval holds all p
with

    (rate - p)^2 <= z^2 (p (1 - p) - t / 4) / n,        t = ties / (n + z^2),

which is Wilson's score interval where there are no ties, and narrower with them. It never shrinks to a point.
Source: Wilson 1927, J. Am. Stat. Assoc. 22.
"""

from math import sqrt

from scipy.stats import norm

from mva.statistics.estimate import LEVEL


def proportion_interval(successes: float, n: float, *, ties: float = 0, level: float = LEVEL) -> tuple[float, float]:
    """Bound a proportion of n outcomes; `successes` counts a tie as 1/2. Weighted outcomes have an n of any fraction.

    Raises:
        ValueError: If there are no outcomes.
    """
    if n < 1:
        raise ValueError("A proportion needs at least one outcome.")
    share = float(norm.isf((1 - level) / 2)) ** 2 / n
    rate, tied = successes / n, ties / (n * (1 + share))
    centre = rate + share / 2
    half = sqrt(max(centre**2 - (1 + share) * (rate**2 + share * tied / 4), 0.0))
    return max(0.0, (centre - half) / (1 + share)), min(1.0, (centre + half) / (1 + share))
