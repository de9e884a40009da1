"""The box of coefficients that a search explores (arXiv 2511.17579, Sec. 4.2: `[0, C]^n` with C = 1)."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mva.checks import BadSetting, check
from mva.extrapolation.candidate import Candidate

Bound = float | Mapping[str, float]


@dataclass(frozen=True)
class CoefficientSpace:
    """The box `[minimum, maximum]`, one axis per value; a bound is one number for all values or one for each.

    Beyond 1 a vector is extrapolated, below 0 it is subtracted. `composition` names how the candidates
    of this space are composed, and becomes part of their ids.
    """

    values: tuple[str, ...]
    minimum: Bound = 0.0
    maximum: Bound = 1.0
    composition: str = "linear"

    def __post_init__(self) -> None:
        """Refuse a box that is none.

        Raises:
            ValueError: If there are no values or one twice, a bound is not finite or names other values, or a
                minimum is not below its maximum.
        """
        object.__setattr__(self, "values", tuple(self.values))
        check(self)
        if not self.values or len(set(self.values)) < len(self.values):
            raise ValueError(f"The values {list(self.values)} must be at least one, and each only once.")
        for value, low, high in zip(self.values, self.lower, self.upper, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise BadSetting(
                    "minimum",
                    f"is {low} for '{value}', and maximum is {high}: choose a minimum below the maximum, both finite.",
                )

    @property
    def lower(self) -> tuple[float, ...]:
        """The minima, in the order of `values`."""
        return self._per_value("minimum", self.minimum)

    @property
    def upper(self) -> tuple[float, ...]:
        """The maxima, in the order of `values`."""
        return self._per_value("maximum", self.maximum)

    def candidate(self, coefficients: Iterable[float]) -> Candidate:
        """Name the candidate with these coefficients (in the order of `values`), rounded to six decimals."""
        rounded = (round(float(omega), 6) + 0.0 for omega in coefficients)  # + 0.0 makes -0.0 zero
        return Candidate(dict(zip(self.values, rounded, strict=True)), self.composition)

    def corners(self) -> list[Candidate]:
        """List the base (all zero) and each vector alone (one-hot, coefficient 1).

        They are the anchors of any comparison, even where the box leaves them out.
        """
        return [self.candidate([0.0] * len(self.values)), *map(self.alone, self.values)]

    def alone(self, value: str) -> Candidate:
        """Name the vector of `value` alone: coefficient 1, the others 0."""
        return self.candidate(float(other == value) for other in self.values)

    def __contains__(self, candidate: Candidate) -> bool:
        """Say whether the candidate lies in the box, to six decimals."""
        bounds = zip(candidate.vector(self.values), self.lower, self.upper, strict=True)
        return all(low - 1e-6 <= omega <= high + 1e-6 for omega, low, high in bounds)

    def _per_value(self, name: str, bound: Bound) -> tuple[float, ...]:
        if not isinstance(bound, Mapping):
            return (float(bound),) * len(self.values)
        if set(bound) != set(self.values):
            raise BadSetting(
                name,
                f"has bounds for {', '.join(bound)}, but the vectors are {', '.join(self.values)}: choose one for "
                "each, or one number for all.",
            )
        return tuple(float(bound[value]) for value in self.values)
