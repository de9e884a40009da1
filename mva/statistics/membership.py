"""How probably each candidate is on the front: the share of draws of the true scores in which no other dominates it.

A smooth surface knows that neighbours have like scores, but not that a value's own vector helps it and the others cost
it something: where two candidates are within noise of each other, draws let either dominate. On fronts of such
trade-offs the shares are too low (24 prompts, 25 candidates: said 50 %, true 80 %), the more so the fewer levels the
coefficients have and the less is certain. A step of the log-odds mends most of it:

    logit(p) = logit(share) + 9 sqrt(u) / n^(1/k),    u = mean of 4 share (1 - share) over the n candidates, k values

[fitted to simulated tables of trade-offs, docs/statistics.md]. Where scores wander over the coefficients without any
trade-off, the shares are right as they are and p is too high.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from mva.pareto.dominance import non_dominated
from mva.statistics.posterior import ScorePosterior
from mva.statistics.rewards import Floats, as_rewards

STEP = 9.0
DRAWS = 1000
MOST_SCORES = 800
"""Candidates times values that a surface is fitted to; of more the candidates far behind the front are left out."""


def membership(coordinates: ArrayLike, rewards: ArrayLike, *, seed: int = 0) -> Floats:
    """Say how probably each candidate of a run is non-dominated.

    Shape: `(n, d)`, `(n, n_prompts, k)` -> `(n,)`, each in [0, 1].

    Raises:
        ValueError: As `ScorePosterior.of`.
    """
    array, points = as_rewards(rewards), np.asarray(coordinates, dtype=np.float64)
    near = near_front(array.mean(axis=1), MOST_SCORES // array.shape[2])
    posterior = ScorePosterior.of(points[near], array[near], draws=DRAWS, seed=seed)
    shares = np.zeros(len(array))
    shares[near] = np.mean([non_dominated(scores) for scores in posterior.draws], axis=0)
    probabilities = np.zeros(len(array))
    probabilities[near] = stepped(shares, n_values=array.shape[2])[near]
    return probabilities


def stepped(shares: Floats, *, n_values: int) -> Floats:
    """Move the shares of all candidates by the step above; half a draw at either end is left open. Shape: `(n,)`."""
    if len(shares) == 1:
        return np.ones(1)
    step = STEP * np.sqrt((4 * shares * (1 - shares)).mean()) / len(shares) ** (1 / n_values)
    edge = 0.5 / DRAWS
    return np.asarray(expit(logit(np.clip(shares, edge, 1 - edge)) + step))


def near_front(scores: Floats, most: int) -> NDArray[np.int64]:
    """Choose candidates by layers of dominance, from the front inwards, until there are `most`.

    Shape: `(n, k) -> (m,)`, row numbers in rising order.
    """
    rest = np.arange(len(scores))
    chosen: list[int] = []
    while len(rest) and len(chosen) < most:
        layer = non_dominated(scores[rest])
        chosen += rest[layer].tolist()
        rest = rest[~layer]
    return np.sort(np.array(chosen[:most]))
