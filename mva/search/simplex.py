"""Convex combinations only: the search of rewarded soups (arXiv 2306.04488)."""

import math
from dataclasses import dataclass
from typing import Annotated

from mva.checks import Bounds, check
from mva.extrapolation.space import CoefficientSpace
from mva.search.base import LARGEST, Search, fixed
from mva.training.preferences import simplex_lattice


@dataclass(frozen=True)
class Simplex:
    """The lattice of coefficients `k_i / resolution` that sum to 1, as far as it lies in the box.

    `(resolution + n - 1 choose n - 1)` candidates for n values. `include_corners` adds the base and each
    vector alone (the latter are corners of the simplex anyway).
    """

    resolution: Annotated[int, Bounds(1, LARGEST)] = 10
    include_corners: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def start(self, space: CoefficientSpace, *, seed: int) -> Search:
        """See `SearchSpec`; the seed plays no part.

        Raises:
            ValueError: If there are more than 100 000 candidates, or no convex combination lies in the box.
        """
        size = math.comb(self.resolution + len(space.values) - 1, len(space.values) - 1)
        if size > LARGEST:
            raise ValueError(
                f"search.resolution is {self.resolution}, which gives {size} candidates for {len(space.values)} "
                f"values: choose a lower one (at most {LARGEST} candidates), or search=sobol."
            )
        lattice = simplex_lattice(self.resolution, len(space.values))
        points = [space.candidate([k / self.resolution for k in parts]) for parts in lattice]
        inside = [point for point in points if point in space]
        if not inside:
            raise ValueError(
                f"No convex combination lies in the box from {space.lower} to {space.upper}: widen "
                f"extrapolation.minimum and extrapolation.maximum, or choose search=grid."
            )
        return fixed(space, inside, include_corners=self.include_corners)
