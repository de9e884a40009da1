"""What a search strategy is: a specification that starts a search over a coefficient space."""

from collections.abc import Iterable
from typing import Protocol

from mva.extrapolation.candidate import Candidate
from mva.extrapolation.explore import Scored, Search
from mva.extrapolation.space import CoefficientSpace

__all__ = ["LARGEST", "FixedSearch", "Scored", "Search", "SearchSpec", "fixed"]


LARGEST = 100_000
"""Candidates of one search, at most."""


class SearchSpec(Protocol):
    """The settings of a search strategy, as a frozen dataclass; they know nothing of values and bounds."""

    def start(self, space: CoefficientSpace, *, seed: int) -> Search:
        """Begin a search; the same space and seed (and scores) give the same candidates.

        Raises:
            ValueError: If the strategy can't search this space.
        """
        ...


class FixedSearch:
    """A search whose candidates are known beforehand, and all asked for at once."""

    def __init__(self, candidates: list[Candidate]) -> None:
        self._waiting = candidates

    def ask(self) -> list[Candidate]:
        """Hand over all candidates the first time, none after that."""
        asked, self._waiting = self._waiting, []
        return asked

    def tell(self, scored: Scored) -> None:
        """Take note of nothing."""


def fixed(space: CoefficientSpace, candidates: Iterable[Candidate], *, include_corners: bool) -> FixedSearch:
    """Search through the candidates, each once; `include_corners` puts base and one-hot ones before them."""
    everything = [*(space.corners() if include_corners else []), *candidates]
    return FixedSearch(list({candidate.id: candidate for candidate in everything}.values()))
