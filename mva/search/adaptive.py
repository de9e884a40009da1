"""Adaptive search: a Gaussian process per value, then whatever promises most hypervolume.

The search is seeded with the anchors: the base, each vector alone, and all vectors together (coefficients 1).
After that each turn fits the processes to all scores so far and asks for the `batch` candidates with the most
expected hypervolume improvement (optuna's GPSampler; those of one turn count as running: they don't crowd).
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import GPSampler
from optuna.trial import create_trial

from mva.checks import Bounds, check
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.extrapolation.space import CoefficientSpace
from mva.search.base import LARGEST, Scored, Search
from mva.seeding import derive_seed

MOST_VALUES = 4


@dataclass(frozen=True)
class Adaptive:
    """Spend `budget` evaluations (the anchors count), `batch` a turn.

    A larger batch makes better use of batched generation, a smaller one learns more from each evaluation.
    The proposals themselves take about 0.3 s each for 2 values, 2 s for 3 and 10 s for 4 (one CPU core).
    """

    budget: Annotated[int, Bounds(1, LARGEST)] = 24
    batch: Annotated[int, Bounds(1, LARGEST)] = 4

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def start(self, space: CoefficientSpace, *, seed: int) -> Search:
        """See `SearchSpec`; proposals are a function of the seed and the scores told so far.

        Raises:
            ValueError: If there are more than 4 values: a proposal would take minutes.
        """
        if len(space.values) > MOST_VALUES:
            raise ValueError(
                f"search=adaptive serves at most {MOST_VALUES} values, not {len(space.values)}: the "
                f"hypervolume improvement gets too slow to compute; choose search=sobol."
            )
        return AdaptiveSearch(self, space, seed)


class AdaptiveSearch:
    """An adaptive search under way; its state is the scored candidates: each turn rebuilds the study."""

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
        self._told.update({one.candidate.id: one for one in scored})
        self._spent.update(one.candidate.id for one in scored)
        self._spent.update(candidate.id for candidate in self._asked)

    def _anchors(self) -> list[Candidate]:
        together = self._space.candidate([1.0] * len(self._space.values))
        corners = self._space.corners()  # of a single value, all vectors together are that vector alone
        return list({anchor.id: anchor for anchor in [*corners, together]}.values())

    def _proposals(self, count: int) -> list[Candidate]:
        study = self._study()
        fallback = np.random.default_rng(derive_seed(self._seed, "fallback", len(self._told)))
        proposed: dict[str, Candidate] = {}
        for _ in range(count):
            trial = study.ask(self._distributions())
            candidate = self._space.candidate([trial.params[value] for value in self._space.values])
            while candidate.id in self._spent or candidate.id in proposed:
                candidate = self._space.candidate(fallback.uniform(self._space.lower, self._space.upper))
            proposed[candidate.id] = candidate
        return list(proposed.values())

    def _study(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # or each study announces itself
        seed = derive_seed(self._seed, "adaptive", len(self._told)) % 2**32
        sampler = GPSampler(seed=seed, n_startup_trials=1)
        study = optuna.create_study(directions=["maximize"] * self._n_scores, sampler=sampler)
        for one in self._told.values():
            if one.candidate in self._space:
                study.add_trial(self._trial(one))
        return study

    @property
    def _n_scores(self) -> int:
        return len(next(iter(self._told.values())).scores)

    def _trial(self, one: ScoredCandidate) -> optuna.trial.FrozenTrial:
        values = self._space.values
        inside = np.clip(one.candidate.vector(values), self._space.lower, self._space.upper).tolist()
        return create_trial(
            params=dict(zip(values, inside, strict=True)),
            distributions=self._distributions(),
            values=list(one.scores.values()),
        )

    def _distributions(self) -> dict[str, FloatDistribution]:
        bounds = zip(self._space.values, self._space.lower, self._space.upper, strict=True)
        return {value: FloatDistribution(low, high) for value, low, high in bounds}
