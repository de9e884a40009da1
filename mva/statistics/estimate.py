"""An estimate as a mean over prompts, and its interval from prompts and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from mva.statistics.rewards import Floats, as_rewards

LEVEL = 0.95
FEW_SEEDS = 4


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number measured on prompts.

    `effects` `(n_prompts,)` sum to 0: by how much the number is above itself on each prompt, were it a mean over
    prompts. `raw` is the plain number of the mean rewards, which takes the best of their noise. `excess` is a variance
    that the effects do not show: that of a surface between the scores.
    """

    value: float
    effects: Floats
    raw: float
    excess: float = 0.0

    def __add__(self, other: "Estimate") -> "Estimate":
        """The sum, paired by prompts.

        The excess is left out: that of two runs is much the same, and without it their differences cover [simulated].

        Raises:
            ValueError: If the two were measured on different numbers of prompts.
        """
        if len(self.effects) != len(other.effects):
            sizes = f"{len(self.effects)} and {len(other.effects)}"
            raise ValueError(f"Two estimates are of {sizes} prompts: compare them on the same prompts.")
        return Estimate(self.value + other.value, self.effects + other.effects, self.raw + other.raw)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The paired difference: what a prompt does to both drops out. Errors: as `+`."""
        return self + Estimate(-other.value, -other.effects, -other.raw)


def mean_estimate(samples: Floats) -> Estimate:
    """Take a plain mean over prompts as an estimate. Shape: `(n_prompts,)`."""
    mean = float(np.mean(samples))
    return Estimate(mean, np.asarray(samples, dtype=np.float64) - mean, mean)


@dataclass(frozen=True)
class Variance:
    """The variance of a mean over seeds of numbers measured on the same prompts, by its sources.

    `prompts` is what falls with the number of prompts alone, `interaction` (prompts within a seed) with prompts times
    seeds, and `seeds` (may come out below 0) with the number of seeds; each as it stands at the `n_prompts` and
    `n_seeds` measured. `df_per_seed`: degrees of freedom of the seeds' part for each seed beyond the first, more than 1
    where it is pooled over a table.
    """

    prompts: float
    interaction: float
    seeds: float
    df: float
    n_prompts: float
    n_seeds: float
    df_per_seed: float = 1.0

    @property
    def total(self) -> float:
        """Of the mean; never below the prompts' part."""
        return max(self.prompts + self.interaction + self.seeds, self.prompts)

    def projected(self, n_prompts: float, n_seeds: float) -> "Variance":
        """What it would be with other numbers of prompts and seeds; of a single seed it has the prompts' part alone."""
        prompts = self.prompts * self.n_prompts / n_prompts
        interaction = self.interaction * self.n_seeds * self.n_prompts / n_prompts
        of_mean = prompts + interaction / n_seeds
        if n_seeds == 1:
            return Variance(of_mean, 0.0, 0.0, n_prompts - 1, n_prompts, 1, self.df_per_seed)
        between = max(self.seeds, 0.0) * self.n_seeds + interaction
        return combined(
            of_mean,
            interaction,
            between,
            n_prompts=n_prompts,
            n_seeds=n_seeds,
            df_seeds=self.df_per_seed * (n_seeds - 1),
        )


def variance_of(estimates: Sequence[Estimate]) -> Variance:
    """Split the variance of the estimates' mean, one a seed, on the same prompts: two crossed random effects.

        prompts + interaction = V(mean over seeds) / n
        interaction = (mean over seeds of V / n - V(mean over seeds) / n) / (S - 1)
        seeds = C / S - interaction

    where V is the variance of the effects over the n prompts, and C that of the values between the S seeds;
    Satterthwaite's degrees of freedom. A single seed has the prompts' part alone (with the estimate's excess, which
    among seeds is a part of C), and speaks of its vectors, not
    of the method. Source: Searle, Casella and McCulloch 1992, Ch. 4 (moments); Satterthwaite 1946 (degrees of
    freedom).
    """
    effects = np.stack([estimate.effects for estimate in estimates])
    n_seeds, n_prompts = effects.shape
    of_mean = float(effects.mean(axis=0).var(ddof=1)) / n_prompts
    if n_seeds == 1:
        return Variance(of_mean + estimates[0].excess, 0.0, 0.0, n_prompts - 1, n_prompts, 1)
    of_one = float(effects.var(axis=1, ddof=1).mean()) / n_prompts
    interaction = max(of_one - of_mean, 0.0) * n_seeds / (n_seeds - 1)
    between = float(np.var([estimate.value for estimate in estimates], ddof=1))
    return combined(of_mean, interaction, between, n_prompts=n_prompts, n_seeds=n_seeds, df_seeds=n_seeds - 1)


def combined(
    of_mean: float, interaction: float, between: float, *, n_prompts: float, n_seeds: float, df_seeds: float
) -> Variance:
    """Put the sources together: `of_mean` the prompts' variance of the mean, the others those of one seed."""
    prompts = max(of_mean - interaction / n_seeds, 0.0)
    seeds = (between - interaction) / n_seeds
    total = max(prompts + interaction / n_seeds + seeds, prompts)
    # With few seeds the seeds' part is as uncertain as all of C; from four on that is too cautious [simulated].
    uncertain = between / n_seeds if n_seeds < FEW_SEEDS else abs(seeds)
    uncertainty = of_mean**2 / (n_prompts - 1) + uncertain * between / n_seeds / df_seeds
    df = max(total**2 / uncertainty, min(df_seeds, n_prompts - 1)) if uncertainty > 0 else n_prompts - 1
    return Variance(prompts, interaction / n_seeds, seeds, df, n_prompts, n_seeds, df_seeds / (n_seeds - 1))


@dataclass(frozen=True)
class Interval:
    """A number with its interval of probability `level`. `raw` is the plain number (see `Estimate`).

    `variance` is where the interval's width comes from; its bounds are cut to the possible range, which loses no
    coverage.
    """

    estimate: float
    low: float
    high: float
    raw: float
    variance: Variance

    @property
    def n_prompts(self) -> int:
        """Prompts measured on."""
        return int(self.variance.n_prompts)

    @property
    def n_seeds(self) -> int:
        """Training seeds measured."""
        return int(self.variance.n_seeds)


def interval(
    estimates: Sequence[Estimate],
    *,
    at_least: float = -np.inf,
    level: float = LEVEL,
    variance: Variance | None = None,
) -> Interval:
    """Bound the mean over seeds of a number: Student's t with the crossed variance.

    Args:
        estimates: One a seed, all on the same prompts.
        at_least: The least possible value; a hypervolume has 0.
        level: The interval's probability.
        variance: In place of the estimates' own: where it is pooled over a table of methods.

    Raises:
        ValueError: If there are no estimates, or they are of different numbers of prompts.
    """
    sizes = {len(estimate.effects) for estimate in estimates}
    if len(sizes) != 1:
        raise ValueError(f"An interval needs estimates on the same prompts, not on {sorted(sizes) or 'none'}.")
    variance = variance or variance_of(estimates)
    value = float(np.mean([estimate.value for estimate in estimates]))
    half = half_width(variance, level=level)
    raw = float(np.mean([estimate.raw for estimate in estimates]))
    return Interval(value, max(value - half, at_least), max(value + half, at_least), raw, variance)


def half_width(variance: Variance, *, level: float = LEVEL) -> float:
    """Half of an interval's width."""
    return student(variance.df, level=level) * float(np.sqrt(variance.total))


def student(df: float, *, level: float = LEVEL) -> float:
    """How many standard errors half of an interval has, by Student's t; of no degree of freedom, infinitely many."""
    return float(t.isf((1 - level) / 2, df)) if df > 0 else float("inf")


def mean_intervals(rewards: Floats, *, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Bound every mean over prompts by Student's t. Shape: `(n, n_prompts, k)` -> low and high, `(n, k)` each.

    Raises:
        ValueError: As `as_rewards`.
    """
    array = as_rewards(rewards)
    n_prompts = array.shape[1]
    half = student(n_prompts - 1, level=level) * array.std(axis=1, ddof=1) / np.sqrt(n_prompts)
    means = array.mean(axis=1)
    return means - half, means + half
