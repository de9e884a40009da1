"""Agreement with preference pairs once length is taken out.

Let d be how much longer the chosen response of a pair is than the rejected one (the log-ratio of their words). Pairs
are put into `BINS` bins of like |d|. In a bin a pair whose chosen response is the longer one weighs as much as the
share of the bin's pairs whose chosen response is the shorter one, and the other way round:

    w = n_shorter / n  where d > 0,    w = n_longer / n  where d < 0,    w = 1/2  where d = 0.

So on both sides of every bin the same weight stands, and any rule that only rises (or only falls) with length agrees
with exactly half of it. A reward that does not depend on length agrees as often as before. A bin in which one side is
missing says nothing of a reward apart from length, and weighs 0. These are overlap weights.
Source: Li, Morgan and Zaslavsky 2018, J. Am. Stat. Assoc. 113.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mva.statistics.proportions import proportion_interval
from mva.statistics.rewards import MINIMUM_PROMPTS

Floats = NDArray[np.float64]
BINS = 4


@dataclass(frozen=True)
class Balanced:
    """The weighted share, with its 95 % interval; `n_effective = (sum w)^2 / sum w^2` pairs stand behind it."""

    accuracy: float
    low: float
    high: float
    n_effective: float


def balancing_weights(differences: ArrayLike) -> Floats:
    """Weigh pairs so that length alone agrees with half of the weight; see the module. Shape: `(n,)` -> `(n,)`."""
    d = np.asarray(differences, dtype=np.float64)
    weights = np.full(d.shape, 0.5)
    sizes = np.abs(d)
    if not sizes.any():
        return weights
    edges = np.quantile(sizes[sizes > 0], np.arange(1, BINS) / BINS)
    bins = np.searchsorted(edges, sizes)
    for number in range(BINS):
        longer = (bins == number) & (d > 0)
        shorter = (bins == number) & (d < 0)
        n = max(longer.sum() + shorter.sum(), 1)
        weights[longer] = shorter.sum() / n
        weights[shorter] = longer.sum() / n
    return weights


def balanced_agreement(outcomes: ArrayLike, differences: ArrayLike) -> Balanced | None:
    """Average the outcomes of pairs (1 agrees, 1/2 a tie, 0 disagrees) with `balancing_weights(differences)`.

    The interval is Wilson's for `n_effective` pairs (`mva.statistics.proportions`).
    Shape: `(n,)` and `(n,)`. None where fewer than 10 effective pairs stand behind it: then length and preference
    can't be told apart in these pairs.
    """
    weights = balancing_weights(differences)
    total = weights.sum()
    if total == 0:
        return None
    n_effective = float(total**2 / (weights**2).sum())
    if n_effective < MINIMUM_PROMPTS:
        return None
    agreeing = np.asarray(outcomes, dtype=np.float64)
    accuracy = float(weights @ agreeing / total)
    tied = float(weights[agreeing == 0.5].sum() / total)
    low, high = proportion_interval(accuracy * n_effective, n_effective, ties=tied * n_effective)
    return Balanced(accuracy, low, high, n_effective)
