"""Convex combinations only: the search of rewarded soups (arXiv 2306.04488)."""

from dataclasses import dataclass

from mva.extrapolation.space import CoefficientSpace
from mva.search.base import Search, fixed
from mva.training.preferences import simplex_lattice


@dataclass(frozen=True)
class Simplex:
    """The lattice of coefficients `k_i / resolution` that sum to 1, as far as it lies in the box.

    `(resolution + n - 1 choose n - 1)` candidates for n values. `include_corners` adds the base and each
    vector alone (the latter are corners of the simplex anyway).
    """

    resolution: int = 10
    include_corners: bool = True

    def __post_init__(self) -> None:
        """Refuse a lattice without steps.

        Raises:
            ValueError: If `resolution` is below 1.
        """
        if self.resolution < 1:
            raise ValueError(f"search.resolution is {self.resolution}: the simplex needs at least 1 step.")

    def start(self, space: CoefficientSpace, *, seed: int) -> Search:
        """See `SearchSpec`; the seed plays no part.

        Raises:
            ValueError: If no convex combination lies in the box.
        """
        lattice = simplex_lattice(self.resolution, len(space.values))
        points = [space.candidate([k / self.resolution for k in parts]) for parts in lattice]
        inside = [point for point in points if point in space]
        if not inside:
            raise ValueError(
                f"No convex combination lies in the box from {space.lower} to {space.upper}: widen "
                f"extrapolation.minimum and extrapolation.maximum, or choose search=grid."
            )
        return fixed(space, inside, include_corners=self.include_corners)
