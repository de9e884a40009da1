"""The chance level of a dependence: what an estimator reports for a vector that has nothing to do with it.

    chance = mean over random vectors of the other's shapes and sizes
    z = (measured - mean) / standard deviation,   over permutations of the other vector

A dependence means nothing without them: biased estimators are far from zero for independent vectors. A random vector
has lost its structure, a permuted one only its alignment: its singular values are what they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import torch
from torch import Generator, Tensor

from mva.estimators.base import Estimator, View
from mva.estimators.samples import dependence
from mva.models.value_vector import LowRank


@dataclass(frozen=True)
class ChanceLevel:
    """A measured dependence beside `draws` random vectors (mean, standard deviation) and as many permuted ones.

    `z` counts by how many standard deviations the measured value exceeds the permuted ones' mean; None if they are all
    alike.
    """

    measured: float
    mean: float
    standard_deviation: float
    z: float | None
    draws: int


@torch.no_grad()
def chance_level(
    estimator: Estimator[Any],
    view: View[Any],
    current: Mapping[str, LowRank],
    other: Mapping[str, LowRank],
    *,
    draws: int = 20,
    generator: Generator,
) -> ChanceLevel:
    """Compare the dependence of two vectors with that of `current` and random or permuted vectors.

    A random vector has the shapes and scalings of `other`, and Gaussian factors with its root mean squares
    (a factor that is zero stays zero). A permuted one is `other` with the outputs, the ranks and the inputs of every
    module in random order. Nothing is clamped: an unbiased estimate may be negative.

    Args:
        estimator: Measures the dependence.
        view: What the estimator sees of the vectors.
        current: Kept as it is, so that its own structure is no part of the difference.
        other: Measured against, redrawn and permuted.
        draws: Number of random vectors, and of permuted ones; at least 2.
        generator: A CPU generator; the same state gives the same result on every device.

    Raises:
        ValueError: If `draws` is below 2, which gives no standard deviation.
    """
    if draws < 2:
        raise ValueError(f"The chance level needs at least 2 draws for a standard deviation, not {draws}.")

    def measure(vector: Mapping[str, LowRank]) -> float:
        return dependence(estimator, view, current, [vector]).item()

    measured = measure(other)
    chance = [measure(_redraw(other, generator)) for _ in range(draws)]
    permuted = [measure(_permute(other, generator)) for _ in range(draws)]
    spread = stdev(permuted)
    z = None if spread == 0 else (measured - mean(permuted)) / spread
    return ChanceLevel(measured, mean(chance), stdev(chance), z, draws)


def _redraw(factors: Mapping[str, LowRank], generator: Generator) -> dict[str, LowRank]:
    return {
        name: LowRank(_noise_like(update.a, generator), _noise_like(update.b, generator), update.scaling)
        for name, update in factors.items()
    }


def _permute(factors: Mapping[str, LowRank], generator: Generator) -> dict[str, LowRank]:
    def shuffled(size: int) -> Tensor:
        return torch.randperm(size, generator=generator)

    permuted = {}
    for name, update in factors.items():
        (rank, d_in), d_out = update.a.shape, update.b.shape[0]
        # Another order of ranks in A and B is the same update, but no longer the same partners of its rows.
        ranks = shuffled(rank)
        a, b = update.a[ranks][:, shuffled(d_in)], update.b[shuffled(d_out)][:, ranks]
        permuted[name] = LowRank(a, b, update.scaling)
    return permuted


def _noise_like(factor: Tensor, generator: Generator) -> Tensor:
    noise = torch.randn(factor.shape, generator=generator, dtype=torch.float64)
    return noise.to(factor) * factor.square().mean().sqrt()
