"""How much of a box's hypervolume a search finds, with few evaluations and noisy scores: docs/sweeps.md quotes it.

    python experiments/search_strategies.py            # 2, 3 and 5 values; about 10 minutes on one core

True scores are those of `experiments/simulated_tables.py`: saturating gains with interference, four worlds. A search
sees them with independent noise, `noise` times the 0.8 / sqrt(24) of 24 prompts. Counted is the true hypervolume of all
that it evaluated, as a share of a dense box's, from 10 % below the box's worst scores. `oracle` chooses as many points
greedily, knowing the truth: no search of that budget exceeds it by much.
"""

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import qmc
from simulated_tables import WORLDS, Floats, World, coefficients, true_scores, world

from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.extrapolation.explore import explore
from mva.extrapolation.space import CoefficientSpace
from mva.pareto.dominance import non_dominated
from mva.pareto.hypervolume import hypervolume
from mva.search.adaptive import Adaptive
from mva.search.base import SearchSpec
from mva.search.improvement import directions, most_promising
from mva.search.sobol import Sobol

SETTINGS = ((2, 24), (3, 40), (5, 64))
NOISES = (0.0, 0.4, 1.0)
SEEDS = 2
_ONE_SCORE = 0.8 / 24**0.5


def dense(setup: World, n_values: int) -> Floats:
    """Scores all over the box. Shape: `(n, k)`."""
    points = [qmc.Sobol(n_values, rng=0).random(4096), coefficients(5 if n_values < 5 else 3, n_values)]
    return true_scores(setup, np.concatenate(points))


def volume(scores: Floats, box: Floats) -> float:
    """The share of the box's hypervolume. Shape: `(n, k)`, `(m, k)`."""
    reference = box.min(axis=0) - 0.1 * np.ptp(box, axis=0)
    return hypervolume(scores, reference) / hypervolume(box[non_dominated(box)], reference)


def oracle(box: Floats, budget: int) -> Floats:
    """The best of the box's points, chosen greedily. Shape: `(m, k)` -> `(budget, k)`."""
    reference = box.min(axis=0) - 0.1 * np.ptp(box, axis=0)
    along = directions(1024, box.shape[1], np.random.default_rng(0))
    return np.asarray(box[most_promising(box[None, :1], box[None], reference, along, count=budget)])


def noisy(setup: World, noise: float, seed: int) -> Callable[[Sequence[Candidate]], list[ScoredCandidate]]:
    """Score candidates as 24 prompts would."""
    generator = np.random.default_rng([seed, 5])

    def score(candidates: Sequence[Candidate]) -> list[ScoredCandidate]:
        omegas = np.array([list(candidate.coefficients.values()) for candidate in candidates])
        truth = true_scores(setup, omegas)
        observed = truth + noise * _ONE_SCORE * generator.standard_normal(truth.shape)
        return [
            ScoredCandidate(
                candidate,
                dict(zip(candidate.coefficients, row.tolist(), strict=True)),
                dict.fromkeys(candidate.coefficients, noise * _ONE_SCORE),
                24,
            )
            for candidate, row in zip(candidates, observed, strict=True)
        ]

    return score


def found(spec: SearchSpec, setup: World, n_values: int, noise: float, seed: int) -> Floats:
    """The true scores of what a search evaluates. Shape: `(budget, k)`."""
    space = CoefficientSpace(tuple(f"v{k}" for k in range(n_values)))
    scored = explore(spec.start(space, seed=seed), noisy(setup, noise, seed))
    return true_scores(setup, np.array([list(each.candidate.coefficients.values()) for each in scored]))


def main() -> None:
    """Print a row for each number of values, noise and search."""
    for n_values, budget in SETTINGS:
        boxes = [dense(world(number, n_values), n_values) for number in range(WORLDS)]
        best = np.mean([volume(oracle(box, budget), box) for box in boxes])
        sys.stdout.write(f"{n_values} values, {budget} evaluations: oracle {best:.3f}\n")
        searches: dict[str, SearchSpec] = {
            "sobol": Sobol(n=budget - n_values - 1),
            "adaptive, smooth": Adaptive(budget=budget),
            "adaptive, quadratic": Adaptive(budget=budget, surface="quadratic"),
        }
        for noise in NOISES:
            for name, spec in searches.items():
                start = time.process_time()
                shares = [
                    volume(found(spec, world(number, n_values), n_values, noise, seed), box)
                    for number, box in enumerate(boxes)
                    for seed in range(SEEDS)
                ]
                seconds = (time.process_time() - start) / len(shares)
                sys.stdout.write(f"  noise {noise:g}, {name}: {np.mean(shares):.3f}, {seconds:.1f} CPU s a search\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
