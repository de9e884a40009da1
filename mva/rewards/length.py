"""Rule-based reward: how long a response is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mva.checks import NotNegative, check
from mva.data.preference import Dialogue
from mva.rewards.base import RewardContext


@dataclass(frozen=True)
class Length:
    """Count the words (separated by white space) of a response.

    Without `target` the score is `sign * words`; with it `-|words - target|`, and `sign` does not matter.

    Raises:
        ValueError: If `sign` is neither 1 nor -1, or `target` is negative.
    """

    sign: Literal[1, -1] = 1
    target: NotNegative | None = None

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    @property
    def key(self) -> str:
        """The rule itself."""
        return f"length(sign={self.sign})" if self.target is None else f"length(target={self.target:g})"

    def build(self, context: RewardContext) -> "Length":
        """Return the reward itself: it needs nothing."""
        return self

    def score(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Score by length. Shape: `(n,)`, in words."""
        words = torch.tensor([len(response.split()) for response in responses], dtype=torch.float64)
        return self.sign * words if self.target is None else -(words - self.target).abs()
