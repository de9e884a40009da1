"""A reward less what its ensemble does not agree on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from mva.data.preference import Dialogue
from mva.models.store import key_of
from mva.rewards.base import EnsembleReward, Reward


@dataclass(frozen=True)
class Pessimistic:
    """Score `reward - deviations * disagreement` for every response, so that a mean score is that of the means."""

    reward: EnsembleReward
    deviations: float

    @property
    def key(self) -> str:
        """Of the reward and the number of standard deviations."""
        return key_of({"reward": "pessimistic", "of": self.reward.key, "deviations": self.deviations})

    def score(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Score with the lower bound. Shape: `(n,)`."""
        return self.reward.score(prompts, responses) - self.deviations * self.disagreement(prompts, responses)

    def disagreement(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Return the ensemble's. Shape: `(n,)`."""
        return self.reward.disagreement(prompts, responses)


def pessimistic(rewards: Mapping[str, Reward], deviations: float) -> dict[str, Reward]:
    """Take `deviations` standard deviations off every reward; 0 leaves them, and their keys, as they are.

    Raises:
        ValueError: If a reward is no ensemble.
    """
    if deviations == 0:
        return dict(rewards)
    return {value: _pessimistic(value, reward, deviations) for value, reward in rewards.items()}


def _pessimistic(value: str, reward: Reward, deviations: float) -> Pessimistic:
    if not isinstance(reward, EnsembleReward):
        raise ValueError(
            f"The reward of '{value}' is no ensemble, so nothing disagrees: let evaluation.pessimism be 0, or choose "
            "reward=preference_head with reward.members of at least 2."
        )
    return Pessimistic(reward, deviations)
