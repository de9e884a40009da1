"""Adaptive search: a surface per value, then whatever promises most hypervolume.

The search is seeded with the anchors: the base, each vector alone, and all vectors together (coefficients 1). After
that each turn fits a surface to each value's scores, with their standard errors as noise, draws true scores from all
surfaces, and asks for the `batch` candidates with the most expected hypervolume improvement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy.stats import qmc

from mva.checks import Bounds, check
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.extrapolation.space import CoefficientSpace
from mva.pareto.dominance import non_dominated
from mva.search.base import LARGEST, Scored, Search
from mva.search.improvement import directions, most_promising
from mva.search.response_surface import Floats, Form, ResponseSurface
from mva.seeding import derive_seed

MOST_VALUES = 10
_DRAWS = 32
_DIRECTIONS = 256
_POOL = 256  # points of each kind that a turn chooses among
_NEAR = 0.15  # of the box: how far a neighbour lies from a member of the front, standard deviation
_ON_EDGES = 0.3  # the share of a neighbour's coefficients that are moved to the nearest face of the box
_MARGIN = 0.1  # of each score's range: how far the reference point lies below the worst score


@dataclass(frozen=True)
class Adaptive:
    """Spend `budget` evaluations (the anchors count), `batch` a turn.

    A larger batch makes better use of batched generation, a smaller one learns more from each evaluation. `surface` is
    the form of the scores over the coefficients (see `mva.search.response_surface`).
    """

    budget: Annotated[int, Bounds(1, LARGEST)] = 24
    batch: Annotated[int, Bounds(1, LARGEST)] = 4
    surface: Form = "smooth"

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def start(self, space: CoefficientSpace, *, seed: int) -> Search:
        """See `SearchSpec`; proposals are a function of the seed and the scores told so far.

        Raises:
            ValueError: If there are more than 10 values, for which it was not tried.
        """
        if len(space.values) > MOST_VALUES:
            raise ValueError(
                f"search=adaptive serves at most {MOST_VALUES} values, not {len(space.values)}: choose search=sobol."
            )
        return AdaptiveSearch(self, space, seed)


class AdaptiveSearch:
    """An adaptive search under way; its state is the scored candidates: each turn fits the surfaces again."""

    def __init__(self, spec: Adaptive, space: CoefficientSpace, seed: int) -> None:
        self._spec = spec
        self._space = space
        self._seed = seed
        self._told: dict[str, ScoredCandidate] = {}
        self._asked: list[Candidate] = []
        self._spent: set[str] = set()  # of these the outcome is known: scored, or failed

    def ask(self) -> list[Candidate]:
        """Propose the anchors first, then what promises most; no candidate twice; none beyond the budget."""
        left = max(0, self._spec.budget - len(self._spent))
        self._asked = [anchor for anchor in self._anchors() if anchor.id not in self._spent][:left]
        if not self._asked and left and self._told:  # without any score there is nothing to learn from
            self._asked = self._proposals(min(self._spec.batch, left))
        return list(self._asked)

    def tell(self, scored: Scored) -> None:
        """Learn the scores; candidates that were not asked for count towards the budget, too."""
        self._told.update({each.candidate.id: each for each in scored})
        self._spent.update(each.candidate.id for each in scored)
        self._spent.update(candidate.id for candidate in self._asked)

    def _anchors(self) -> list[Candidate]:
        together = self._space.candidate([1.0] * len(self._space.values))
        corners = self._space.corners()  # of a single value, all vectors together are that vector alone
        return list({anchor.id: anchor for anchor in [*corners, together]}.values())

    def _proposals(self, count: int) -> list[Candidate]:
        generator = np.random.default_rng(derive_seed(self._seed, "adaptive", len(self._told)))
        told = list(self._told.values())
        scores = np.array([list(each.scores.values()) for each in told])
        errors = np.array([[each.standard_errors[value] for value in each.scores] for each in told])
        candidates = self._pool(told, scores, generator, least=count)
        points = self._in_the_unit_box([*(each.candidate for each in told), *candidates])
        draws = _drawn(self._spec.surface, points, scores, errors, generator)
        reference = scores.min(axis=0) - _MARGIN * np.ptp(scores, axis=0)
        chosen = most_promising(
            draws[:, : len(told)],
            draws[:, len(told) :],
            reference,
            directions(_DIRECTIONS, scores.shape[1], generator),
            count=count,
        )
        return [candidates[k] for k in chosen]

    def _pool(
        self, told: Sequence[ScoredCandidate], scores: Floats, generator: np.random.Generator, *, least: int
    ) -> list[Candidate]:
        """Collect points to choose among: over the whole box, near the front, and near it on the box's faces."""
        d = len(self._space.values)
        n = max(_POOL, 1 << (2 * least - 1).bit_length())
        everywhere = qmc.Sobol(d, rng=generator).random(n)
        members = [each.candidate for each, on_front in zip(told, non_dominated(scores), strict=True) if on_front]
        front = self._in_the_unit_box(members)
        near = front[generator.integers(len(front), size=n)] + _NEAR * generator.standard_normal((n, d))
        near = np.clip(near, 0.0, 1.0)
        on_faces = np.where(generator.random((n, d)) < _ON_EDGES, np.round(near), near)
        lower, upper = np.array(self._space.lower), np.array(self._space.upper)
        points = lower + np.concatenate([everywhere, near, on_faces]) * (upper - lower)
        pool = {candidate.id: candidate for candidate in map(self._space.candidate, points)}
        return [candidate for candidate in pool.values() if candidate.id not in self._spent]

    def _in_the_unit_box(self, candidates: Sequence[Candidate]) -> Floats:
        lower, upper = np.array(self._space.lower), np.array(self._space.upper)
        omegas = np.array([candidate.vector(self._space.values) for candidate in candidates])
        return np.asarray((omegas - lower) / (upper - lower))


def _drawn(form: Form, points: Floats, scores: Floats, errors: Floats, generator: np.random.Generator) -> Floats:
    """Draw true scores at all points from surfaces through the first ones' scores.

    Shape: `(m, d)`, `(n, k)`, `(n, k)` -> `(n_draws, m, k)`.
    """
    draws = []
    for value in range(scores.shape[1]):
        surface = ResponseSurface(form, points[: len(scores)], scores[:, value], errors[:, value])
        draws.append(surface.draw(points, generator.standard_normal((_DRAWS, len(points)))))
    return np.stack(draws, axis=-1)
