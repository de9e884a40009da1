"""The loop that explores combinations: ask for candidates, score them, tell the scores."""

from collections.abc import Callable, Sequence
from typing import Protocol

from mva.extrapolation.candidate import Candidate, ScoredCandidate

Scored = Sequence[ScoredCandidate]


class Search(Protocol):
    """A strategy under way: it proposes candidates and learns from their scores."""

    def ask(self) -> list[Candidate]:
        """Propose the next candidates to be scored together; an empty list means that the search is over."""
        ...

    def tell(self, scored: Scored) -> None:
        """Learn the scores of the candidates of the last `ask`, in its order; those that failed have none."""
        ...


def explore(
    search: Search,
    evaluate: Callable[[Sequence[Candidate]], Scored],
    *,
    on_scored: Callable[[Scored], None] | None = None,
) -> list[ScoredCandidate]:
    """Run a search to its end.

    Args:
        search: Is asked and told in turns.
        evaluate: Scores candidates, in any order; those that it leaves out failed. No candidate (by id) is ever given
            to it twice.
        on_scored: Sees the newly scored candidates of each turn.

    Returns:
        Each scored candidate once, in the order of the first asking.
    """
    scored: dict[str, ScoredCandidate] = {}
    seen: set[str] = set()
    while asked := search.ask():
        fresh = {candidate.id: candidate for candidate in asked if candidate.id not in seen}
        seen.update(fresh)
        results = {result.candidate.id: result for result in evaluate(list(fresh.values()))} if fresh else {}
        new = [results[name] for name in fresh if name in results]
        scored.update({result.candidate.id: result for result in new})
        if on_scored is not None and new:
            on_scored(new)
        search.tell([scored[candidate.id] for candidate in asked if candidate.id in scored])
    return list(scored.values())
