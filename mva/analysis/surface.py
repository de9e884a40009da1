"""What candidates do over the box of coefficients: along rays, over planes, and where they stop being linear.

Everything is kept prompt by prompt, so that differences are paired: what a prompt does to all candidates drops out.
A single interval at 95 % errs once in twenty times; of a whole ray only what holds from a level on to its end is said.
"""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mva.analysis.text_statistics import STATISTICS
from mva.pareto.dominance import Floats
from mva.pareto.front import SMALLEST_DIFFERENCE
from mva.runs.responses import Answers
from mva.runs.run_folder import RunFiles
from mva.statistics.comparison import Difference, judged
from mva.statistics.estimate import mean_estimate, mean_intervals
from mva.statistics.rewards import MINIMUM_PROMPTS

ALL = "all together"


class NotScored(ValueError):
    """A point of the box at which no candidate was scored."""


@dataclass(frozen=True, eq=False)
class Surface:
    """What each response of each candidate measures: the values' rewards, say, or statistics of its text.

    Shape: `coefficients` `(n_candidates, n_vectors)`, `numbers` `(n_candidates, n_prompts, n_measures)`.
    """

    vectors: tuple[str, ...]
    measures: tuple[str, ...]
    coefficients: Floats
    numbers: Floats

    @property
    def means(self) -> Floats:
        """Means over the prompts. Shape: `(n_candidates, n_measures)`."""
        return np.asarray(self.numbers.mean(axis=1))

    def intervals(self) -> tuple[Floats, Floats]:
        """Bound every mean over the prompts. Shape: low and high, `(n_candidates, n_measures)` each."""
        return mean_intervals(self.numbers)

    def signs(self) -> NDArray[np.int64]:
        """Say whether each mean lies above 0 (1) or below (-1) with its whole interval; 0: too little to tell.

        Fewer than `MINIMUM_PROMPTS` prompts never tell. Shape: `(n_candidates, n_measures)`.
        """
        low, high = self.intervals()
        enough = self.numbers.shape[1] >= MINIMUM_PROMPTS
        return np.asarray(enough * ((low > 0).astype(np.int64) - (high < 0)))

    def at(self, coefficients: ArrayLike) -> Floats:
        """Take the numbers of the candidate with these coefficients. Shape: `(n_prompts, n_measures)`.

        Raises:
            NotScored: If there is none.
        """
        near = np.flatnonzero(np.abs(self.coefficients - np.asarray(coefficients)).max(axis=1) < 1e-6)
        if not near.size:
            named = ", ".join(f"{v} {omega:g}" for v, omega in zip(self.vectors, np.asarray(coefficients), strict=True))
            raise NotScored(
                f"No candidate was scored at {named}: choose a grid that holds it (extrapolation.maximum divided by "
                f"search.levels must divide 1, and search.include_zero be true)."
            )
        return np.asarray(self.numbers[near[0]])

    def minus(self, numbers: Floats) -> "Surface":
        """Take `numbers` off every candidate's, prompt by prompt. Shape: `(n_prompts, n_measures)`."""
        return replace(self, numbers=self.numbers - numbers)

    def only(self, *measures: str) -> "Surface":
        """Keep these measures."""
        columns = [self.measures.index(measure) for measure in measures]
        return replace(self, measures=measures, numbers=self.numbers[:, :, columns])

    def rays(self) -> dict[str, Floats]:
        """Name the directions to look along: each vector alone, and (of several) all of them together."""
        alone = dict(zip(self.vectors, np.eye(len(self.vectors)), strict=True))
        return alone if len(alone) == 1 else {**alone, ALL: np.ones(len(alone))}

    def along(self, direction: Floats) -> tuple[Floats, "Surface"]:
        """Keep the candidates `t * direction`, in the order of their levels t >= 0, which come first."""
        levels = self.coefficients @ direction / (direction @ direction)
        off = np.abs(self.coefficients - levels[:, None] * direction).max(axis=1)
        rows = np.flatnonzero((off < 1e-6) & (levels > -1e-6))
        rows = rows[np.argsort(levels[rows])]
        return levels[rows], replace(self, coefficients=self.coefficients[rows], numbers=self.numbers[rows])

    def residuals(self) -> "Surface":
        """Take the linear prediction off every candidate's numbers: how far the box is from linear, and where.

            residual(omega) = s(omega) - ( s(0) + sum_i omega_i (s(e_i) - s(0)) )

        It is 0 at the base and at each vector alone; at (1, 1) it is the interaction of two vectors.

        Raises:
            NotScored: If the base or a vector alone was not scored.
        """
        base = self.at(np.zeros(len(self.vectors)))
        slopes = np.stack([self.at(alone) - base for alone in np.eye(len(self.vectors))])
        return replace(self, numbers=self.numbers - base - np.tensordot(self.coefficients, slopes, axes=1))

    def planes(self) -> dict[tuple[str, str], tuple[Floats, Floats, NDArray[np.int64]]]:
        """Lay out the candidates of every two vectors, the others at 0.

        Returns:
            By the two names: levels of the first `(a,)` and of the second `(b,)`, and which candidate stands there
            `(a, b)`, -1 where there is none.
        """
        return {
            (self.vectors[i], self.vectors[j]): self._plane(i, j) for i, j in combinations(range(len(self.vectors)), 2)
        }

    def _plane(self, first: int, second: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
        rest = np.delete(self.coefficients, [first, second], axis=1)
        rows = np.flatnonzero((np.abs(rest) < 1e-6).all(axis=1))
        x, at_x = np.unique(self.coefficients[rows, first].round(6), return_inverse=True)
        y, at_y = np.unique(self.coefficients[rows, second].round(6), return_inverse=True)
        plane = np.full((len(x), len(y)), -1)
        plane[at_x, at_y] = rows
        return x, y, plane


def surfaces(run: RunFiles) -> tuple[Surface, Surface]:
    """Read the rewards of a run's candidates, and the statistics of their texts, on validation prompts.

    Raises:
        NotScored: If fewer than two candidates answered the same two prompts.
    """
    lines = [line for line in run.candidates if line["split"] == "validation"]
    answers = Answers.of(run, [line["id"] for line in lines], "validation")
    if len(lines) < 2 or answers.n_independent < 2:
        raise NotScored(f"{run.folder} has fewer than two candidates with two validation prompts in common.")
    values, vectors = tuple(lines[0]["scores"]), tuple(lines[0]["coefficients"])
    coefficients = np.array([[line["coefficients"][vector] for vector in vectors] for line in lines])
    texts = answers.measured(lambda line: [statistic.measure(line["response"]) for statistic in STATISTICS.values()])
    return (
        Surface(vectors, values, coefficients, answers.rewards(values)),
        Surface(vectors, tuple(STATISTICS), coefficients, texts),
    )


def holds_from(levels: Floats, holds: NDArray[np.bool_]) -> float | None:
    """Find the lowest level from which on something holds, up to the last one; None if it does not hold there.

    Shape: `(n_levels,)` each, levels in rising order.
    """
    fails = np.flatnonzero(~holds)
    first = fails[-1] + 1 if fails.size else 0
    return float(levels[first]) if first < len(levels) else None


def interference(rewards: Surface, *, smallest_difference: float = SMALLEST_DIFFERENCE) -> dict[str, Difference]:
    """Compare each value's score with all vectors at 1 against its own vector alone at 1, paired over prompts.

    Below 0 the other vectors cost the value something: what the penalty is to prevent. A value without a vector of its
    name is left out, and so is everything where there is a single vector. `smallest_difference`, what matters, is a
    share of the rewards' standard deviation.

    Raises:
        NotScored: If one of these candidates was not scored.
    """
    if len(rewards.vectors) < 2:
        return {}
    together = rewards.at(np.ones(len(rewards.vectors)))
    compared = {}
    for vector, alone in zip(rewards.vectors, np.eye(len(rewards.vectors)), strict=True):
        if vector in rewards.measures:
            own = rewards.measures.index(vector)
            sides = together[:, own], rewards.at(alone)[:, own]
            matters = smallest_difference * float(np.std(sides))
            paired = mean_estimate(sides[0] - sides[1])
            (compared[vector],) = judged([[paired]], smallest_difference=matters)
    return compared
