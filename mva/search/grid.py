"""The paper's search: a regular grid over the box (arXiv 2511.17579, Sec. 4.2)."""

import math
from dataclasses import dataclass
from itertools import product
from typing import Annotated

from mva.checks import Bounds, check
from mva.extrapolation.space import CoefficientSpace
from mva.search.base import LARGEST, Search, fixed


@dataclass(frozen=True)
class Grid:
    """`levels` equal steps per value, `minimum + k / levels * (maximum - minimum)` for k = 1 ... levels.

    With 10 levels over [0, 1] these are the paper's {0.1, ..., 1.0}; the number of candidates is
    `levels ** n_values`. `include_zero` adds the level 0 to every value (where the box holds it);
    `include_corners` adds the base and each vector alone.
    """

    levels: Annotated[int, Bounds(1, LARGEST)] = 5
    include_zero: bool = False
    include_corners: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def start(self, space: CoefficientSpace, *, seed: int) -> Search:
        """See `SearchSpec`; the seed plays no part.

        Raises:
            ValueError: If the grid has more than 100 000 candidates.
        """
        axes = [self._levels(low, high) for low, high in zip(space.lower, space.upper, strict=True)]
        size = math.prod(map(len, axes))
        if size > LARGEST:
            raise ValueError(
                f"A grid of {self.levels} levels for {len(axes)} values has {size} candidates: lower "
                f"search.levels, or choose search=adaptive or search=sobol."
            )
        return fixed(space, map(space.candidate, product(*axes)), include_corners=self.include_corners)

    def _levels(self, low: float, high: float) -> list[float]:
        levels = [low + (high - low) * k / self.levels for k in range(1, self.levels + 1)]
        return sorted({0.0, *levels}) if self.include_zero and low <= 0 <= high else levels
