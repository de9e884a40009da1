"""A reward as the margin of MODPO's loss (arXiv 2310.03708)."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mva.data.tokenization import TokenizedPair
from mva.rewards.agreement import score_pairs
from mva.rewards.base import Reward


@dataclass(frozen=True)
class RewardMargin:
    """See `mva.training.task.Margin`."""

    reward: Reward

    @property
    def key(self) -> str:
        """The reward's."""
        return self.reward.key

    def __call__(self, pairs: Sequence[TokenizedPair]) -> Tensor:
        """Score the pairs' texts, whole: what was cut for training is not cut for the reward. Shape: `(n, 2)`.

        Raises:
            ValueError: If a pair did not come from text.
        """
        sources = [pair.source for pair in pairs if pair.source is not None]
        if len(sources) < len(pairs):
            raise ValueError("A reward needs the texts of the pairs that are to be its margin.")
        return score_pairs(self.reward, sources)
