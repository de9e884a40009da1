"""How often a reward agrees with preference pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mva.data.preference import PreferencePair
from mva.rewards.base import Reward
from mva.statistics.proportions import proportion_interval


@dataclass(frozen=True)
class Agreement:
    """The share of pairs whose chosen response gets the higher score, with its 95 % interval."""

    accuracy: float
    n_pairs: int
    low: float
    high: float


def score_pairs(reward: Reward, pairs: Sequence[PreferencePair]) -> Tensor:
    """Score both responses of every pair. Shape: `(n, 2)`, of the chosen and of the rejected ones."""
    prompts = [pair.prompt for pair in pairs]
    responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    return torch.stack(reward.score(prompts * 2, responses).chunk(2), dim=1)


def held_out_accuracy(reward: Reward, pairs: Sequence[PreferencePair]) -> Agreement:
    """Compare `reward` with pairs it has not learnt from; a tie counts half.

    Raises:
        ValueError: If there are no pairs.
    """
    if not pairs:
        raise ValueError("The accuracy of a reward needs at least one preference pair.")
    chosen, rejected = score_pairs(reward, pairs).unbind(1)
    ties = int((chosen == rejected).sum())
    agreeing = float((chosen > rejected).sum()) + 0.5 * ties
    low, high = proportion_interval(agreeing, len(pairs), ties=ties)
    return Agreement(accuracy=agreeing / len(pairs), n_pairs=len(pairs), low=low, high=high)
