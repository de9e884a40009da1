"""What scores candidates, by whatever: responses or preference pairs."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mva.extrapolation.candidate import Candidate, ScoredCandidate


class CandidateEvaluator(Protocol):
    """Scores candidates, and knows what stands behind the scores, prompt by prompt."""

    @property
    def failed(self) -> dict[str, str]:
        """Why candidates could not be scored, by their id."""
        ...

    def __call__(self, candidates: Sequence[Candidate]) -> list[ScoredCandidate]:
        """Score candidates, in their order; those that fail are left out."""
        ...

    def rewards_of(self, candidate: Candidate, value: str) -> list[float]:
        """Score a candidate, and list what each prompt adds to its score for `value`; their mean is the score."""
        ...

    def rewards_array(self, scored: Sequence[ScoredCandidate], values: Sequence[str]) -> NDArray[np.float64]:
        """What stands behind scores, as the statistics take it. Shape: `(n_candidates, n_prompts, n_values)`."""
        ...
