"""Does the interval of a rank correlation between responses and pairs cover it? Simulated, through mva's own functions.

    python experiments/rank_agreement.py --tables 200        # the table of docs/evaluation.md, about a CPU minute

A table is a run of 25 candidates of two values that was scored twice. True scores by responses are saturating gains
with interference; true scores by pairs are those, mixed with a smooth surface that has nothing to do with them. Prompts
move all candidates of a record (standard deviation 1), those that are alike (0.4) and each alone (0.8, pairs 0.2). What
is counted, over both values: how often the interval covers the true rank correlation, how often "agree" is said of one
below 0.8 and "disagree" of one above (or a reversed front of one that is not), and what is said at all.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mva.analysis.pair_agreement import HIGH, compared, spearman
from mva.pareto.dominance import non_dominated
from mva.statistics.posterior import ScorePosterior

Floats = NDArray[np.float64]
LEVELS = np.linspace(0, 1, 5)
OMEGA = np.array([[x, y] for x in LEVELS for y in LEVELS])


@dataclass(frozen=True)
class Setting:
    """How a run was scored: `alike` is the share of the responses' surface in the pairs'."""

    name: str
    alike: float
    n_prompts: int = 24
    n_pair_prompts: int = 100


SETTINGS = (
    Setting("nearly the same", 0.9),
    Setting("much the same", 0.7),
    Setting("half", 0.5),
    Setting("unrelated", 0.0),
    Setting("opposed", -0.7),
    Setting("half, 100 prompts", 0.5, n_prompts=100, n_pair_prompts=300),
    Setting("much the same, 100 prompts", 0.7, n_prompts=100, n_pair_prompts=300),
)


def simulate(setting: Setting, n_tables: int, *, seed: int = 0) -> dict[str, float]:
    """Simulate runs; returns shares of all values' comparisons: `covers`, `agree`, `disagree`, and the two mistakes."""
    counts = dict.fromkeys(("covers", "agree", "disagree", "wrong_agree", "wrong_disagree"), 0)
    for table in range(n_tables):
        rng = np.random.default_rng([seed, table])
        truth = _surface(rng)
        truth_pairs = setting.alike * truth + (1 - abs(setting.alike)) * _wave(rng)
        responses = _scored(truth, setting.n_prompts, own=0.8, rng=rng, seed=0)
        by_pairs = _scored(truth_pairs, setting.n_pair_prompts, own=0.2, rng=rng, seed=1)
        members = non_dominated(responses.scores)
        n_prompts = dict.fromkeys(("first", "second"), setting.n_prompts)
        for column, agreement in enumerate(compared(responses, by_pairs, members, n_prompts=n_prompts)):
            rho = float(spearman(truth[:, column], truth_pairs[:, column]))
            along = float(spearman(truth[members, column], truth_pairs[members, column]))
            counts["covers"] += agreement.everywhere.low <= rho <= agreement.everywhere.high
            counts["agree"] += agreement.word == "agree"
            counts["disagree"] += agreement.word == "disagree"
            counts["wrong_agree"] += agreement.word == "agree" and rho < HIGH
            counts["wrong_disagree"] += agreement.everywhere.high < HIGH <= rho or (agreement.reversed and along >= 0)
    return {name: count / (2 * n_tables) for name, count in counts.items()}


def _surface(rng: np.random.Generator) -> Floats:
    """Gains of each vector for its value, and what the other one costs it. Shape: `(n, 2)`."""
    gain, cost = rng.uniform(1, 2, 2), rng.uniform(0.2, 1, 2)
    own = np.tanh(1.5 * OMEGA) * gain
    return np.asarray(own - cost * OMEGA[:, ::-1])


def _wave(rng: np.random.Generator) -> Floats:
    """A smooth surface that knows nothing of vectors. Shape: `(n, 2)`."""
    distances = ((OMEGA[:, None] - OMEGA[None]) ** 2).sum(axis=-1)
    covariance = np.exp(-distances / (2 * 0.7**2)) + 1e-9 * np.eye(len(OMEGA))
    return np.asarray(np.linalg.cholesky(covariance) @ rng.standard_normal((len(OMEGA), 2)))


def _scored(truth: Floats, n_prompts: int, *, own: float, rng: np.random.Generator, seed: int) -> ScorePosterior:
    distances = ((OMEGA[:, None] - OMEGA[None]) ** 2).sum(axis=-1)
    alike = np.linalg.cholesky(np.exp(-distances / (2 * 0.5**2)) + 1e-9 * np.eye(len(OMEGA)))
    shape = (len(OMEGA), n_prompts, 2)
    shared = rng.standard_normal((1, n_prompts, 2))
    likeness = np.einsum("ij,jpk->ipk", alike, rng.standard_normal(shape))
    rewards = truth[:, None] + shared + 0.4 * likeness + own * rng.standard_normal(shape)
    return ScorePosterior.of(OMEGA, rewards, seed=seed)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=200)
    n_tables = parser.parse_args().tables
    print("| pairs' surface | comparisons | covers | agree | disagree | agree is wrong | disagree is wrong |")
    print("|---|---|---|---|---|---|---|")
    for setting in SETTINGS:
        shares = simulate(setting, n_tables)
        print(f"| {setting.name} | {2 * n_tables} | {' | '.join(f'{share:.0%}' for share in shares.values())} |")


if __name__ == "__main__":
    main()
