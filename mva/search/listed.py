"""An explicit list of candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from mva.checks import FILLED, Rule, check
from mva.extrapolation.candidate import Candidate
from mva.extrapolation.space import CoefficientSpace
from mva.search.base import LARGEST, Search, fixed

AT_MOST = Rule(lambda entries: len(entries) <= LARGEST, f" of at most {LARGEST} candidates")


@dataclass(frozen=True)
class Listed:
    """Just these coefficients, by value name, inside of the box or not."""

    candidates: Annotated[Sequence[Mapping[str, float]], FILLED, AT_MOST]
    include_corners: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def start(self, space: CoefficientSpace, *, seed: int) -> Search:
        """See `SearchSpec`; the seed plays no part.

        Raises:
            ValueError: If the list is empty, or an entry leaves out a value or names an unknown one.
        """
        if not self.candidates:
            raise ValueError("search.candidates is empty: list at least one mapping of value name to coefficient.")
        listed = [_candidate(space, number, entry) for number, entry in enumerate(self.candidates)]
        return fixed(space, listed, include_corners=self.include_corners)


def _candidate(space: CoefficientSpace, number: int, entry: Mapping[str, float]) -> Candidate:
    if set(entry) != set(space.values):
        raise ValueError(
            f"search.candidates[{number}] has coefficients for {', '.join(entry) or 'nothing'}, but the "
            f"values are {', '.join(space.values)}: give exactly these (0 leaves a vector out)."
        )
    return space.candidate([entry[value] for value in space.values])
