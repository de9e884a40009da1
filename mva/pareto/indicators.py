"""Indicators: how good a set of candidates is, in one number each. Scores are always maximised, shape `(n, k)`.

Sets are compared on one `Yardstick`: the front of all of them together, one scale per value, one reference point.
An indicator of noisy scores flatters its set, for it takes the best of them: see `mva.statistics`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import moocore
import numpy as np
from numpy.typing import ArrayLike

from mva.pareto.dominance import Floats, as_scores, non_dominated
from mva.pareto.hypervolume import hypervolume, nadir

_WEIGHTS = 1024


def additive_epsilon(scores: ArrayLike, front: ArrayLike) -> float:
    """Measure by how much every score must rise until the candidates weakly dominate all of `front`.

        epsilon(S; F) = max_{f in F} min_{s in S} max_k (f_k - s_k)

    Lower is better; 0 if S holds F, negative only if S is beyond F everywhere. In the units of the scores.
    Source: Zitzler et al. 2003, doi 10.1109/TEVC.2003.810758.

    Shape: `(n, k)`, `(m, k)`.

    Raises:
        NotFinite: If a score is NaN or infinite.
        ValueError: If there are no candidates, or the front is empty.
    """
    return float(moocore.epsilon_additive(_some(scores), ref=_some(front), maximise=True))


def igd_plus(scores: ArrayLike, front: ArrayLike) -> float:
    """Measure how far the points of `front` are beyond the nearest candidate, on average.

        IGD+(S; F) = mean_{f in F} min_{s in S} || max(f - s, 0) ||_2

    Lower is better; 0 if S weakly dominates F. Euclidean: the values must be on one scale.
    Source: Ishibuchi et al. 2015, doi 10.1007/978-3-319-15892-1_8.

    Shape and errors: as `additive_epsilon`.
    """
    return float(moocore.igd_plus(_some(scores), ref=_some(front), maximise=True))


def expected_utility(scores: ArrayLike, *, draws: int = 4096, seed: int = 0) -> float:
    """Measure what a user gets who picks the best candidate for preference weights drawn uniformly.

        EU(S) = E_{w ~ uniform on the simplex} max_{s in S} w . s

    Higher is better. Exact for one and two values (the maximum is piecewise linear in w); beyond that a mean over
    `draws` weights, the same for every set. In the units of the scores: the values must be on one scale.

    Shape: `(n, k)`.

    Raises:
        NotFinite: If a score is NaN or infinite.
        ValueError: If there are no candidates.
    """
    front = _front(scores)
    n_values = front.shape[1]
    if n_values == 1:
        return float(front.max())
    if n_values == 2:
        first = _breakpoints(front)
        return float(np.trapezoid((np.c_[first, 1 - first] @ front.T).max(axis=1), first))
    weights = np.random.default_rng(seed).dirichlet(np.ones(n_values), size=draws)
    return float((weights @ front.T).max(axis=1).mean())


def spread(scores: ArrayLike) -> float:
    """Measure how much choice the front offers: the diagonal of its bounding box.

        spread(S) = sqrt( sum_k (max_{s in front(S)} s_k - min_{s in front(S)} s_k)^2 )

    Neither high nor low is good by itself; 0 for a single point. The values must be on one scale.

    Shape and errors: as `expected_utility`.
    """
    return float(np.linalg.norm(np.ptp(_front(scores), axis=0)))


def n_front_points(scores: ArrayLike) -> int:
    """Count the distinct non-dominated points. Shape and errors: as `expected_utility`."""
    return len(_front(scores))


@dataclass(frozen=True)
class Indicator:
    """An indicator on a yardstick: `measure` takes raw scores `(n, k)`; `better` says which way is up.

    `at_least` is the least possible number, -inf if there is none; None for an indicator that jumps or that measures a
    distance from a front that is itself noisy: no interval of it is known to cover (docs/statistics.md).
    """

    name: str
    better: Literal["higher", "lower", "neither"]
    measure: Callable[[ArrayLike], float]
    at_least: float | None = None


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What several sets of candidates are held against.

    Every value is scaled so that 0 is the worst and 1 the best score among all candidates of all sets (`low`,
    `high`, in the rewards' own units, shape `(k,)`). `reference_point` `(k,)` and the joint front `front` `(m, k)`
    are scaled. Numbers of different yardsticks don't compare.
    """

    low: Floats
    high: Floats
    reference_point: Floats
    front: Floats

    @classmethod
    def of(cls, sets: Sequence[ArrayLike], *, margin: float = 0.1) -> "Yardstick":
        """Take the measure of all sets together.

        Args:
            sets: The scores of each set. Shape: `(n_i, k)` each.
            margin: How far below the worst scores the reference point lies, as a share of the range.

        Raises:
            NotFinite: If a score is NaN or infinite.
            ValueError: If there are no candidates at all, or the margin is negative.
        """
        everything = np.concatenate([_some(scores) for scores in sets]) if sets else _some([])
        low, high = everything.min(axis=0), everything.max(axis=0)
        scaled = _scaled(everything, low, high)
        return cls(low, high, reference_point=nadir(scaled, margin=margin), front=_front(scaled))

    def scale(self, scores: ArrayLike) -> Floats:
        """Bring scores onto the common scale. Shape: `(n, k)`, kept."""
        return _scaled(as_scores(scores), self.low, self.high)

    def indicators(self) -> tuple[Indicator, ...]:
        """List all indicators, as functions of scores in the rewards' own units."""
        return (
            Indicator("hypervolume", "higher", lambda s: hypervolume(self.scale(s), self.reference_point), 0.0),
            Indicator("additive epsilon", "lower", lambda s: additive_epsilon(self.scale(s), self.front)),
            Indicator("IGD+", "lower", lambda s: igd_plus(self.scale(s), self.front)),
            Indicator("expected utility", "higher", lambda s: expected_utility(self.scale(s), draws=_WEIGHTS), -inf),
            Indicator("spread", "neither", lambda s: spread(self.scale(s))),
            Indicator("front points", "neither", n_front_points),
        )


def _scaled(scores: Floats, low: Floats, high: Floats) -> Floats:
    # A value in which all candidates are alike says nothing: it is shifted to 0, not divided by 0.
    return np.asarray((scores - low) / np.where(high > low, high - low, 1.0))


def _some(scores: ArrayLike) -> Floats:
    matrix = as_scores(scores)
    if len(matrix) == 0:
        raise ValueError("There are no scored candidates to measure.")
    return matrix


def _front(scores: ArrayLike) -> Floats:
    """The distinct non-dominated points, in lexicographic order."""
    matrix = _some(scores)
    return np.asarray(np.unique(matrix[non_dominated(matrix)], axis=0))


def _breakpoints(front: Floats) -> Floats:
    """All weights of the first value at which two points are worth the same: the maximum is linear in between.

    Two distinct points of a front trade the values off, so that each pair has exactly one, inside of (0, 1).
    """
    worse, better = np.triu_indices(len(front), k=1)  # in the first value, in which the front is sorted
    gain = front[better] - front[worse]
    return np.unique([0.0, *gain[:, 1] / (gain[:, 1] - gain[:, 0]), 1.0])
