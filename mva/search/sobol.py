"""Quasi-random search: a scrambled Sobol sequence over the box."""

from dataclasses import dataclass
from typing import Annotated

from scipy.stats import qmc

from mva.checks import Bounds, check
from mva.extrapolation.space import CoefficientSpace
from mva.search.base import LARGEST, Search, fixed


@dataclass(frozen=True)
class Sobol:
    """The first `n` points of a scrambled Sobol sequence: they fill the box evenly for any number of values.

    Powers of two are the most even. `include_corners` adds the base and each vector alone.
    """

    n: Annotated[int, Bounds(1, LARGEST)] = 32
    include_corners: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def start(self, space: CoefficientSpace, *, seed: int) -> Search:
        """See `SearchSpec`; the seed scrambles the sequence."""
        sequence = qmc.Sobol(len(space.values), rng=seed)
        points = sequence.random_base2((self.n - 1).bit_length())[: self.n]
        scaled = qmc.scale(points, space.lower, space.upper)
        return fixed(space, map(space.candidate, scaled), include_corners=self.include_corners)
