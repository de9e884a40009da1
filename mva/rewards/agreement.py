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


def outcomes(scores: Tensor) -> Tensor:
    """Say of each pair whether it agrees: 1, 1/2 for a tie, or 0. Shape: `(n, 2)` -> `(n,)`, float64."""
    chosen, rejected = scores.unbind(1)
    return (chosen > rejected).double() + 0.5 * (chosen == rejected).double()


def agreement_of(scores: Tensor) -> Agreement:
    """Count how often the first column is the higher one; a tie counts half. Shape: `(n, 2)`.

    Raises:
        ValueError: If there are no pairs.
    """
    if not len(scores):
        raise ValueError("The accuracy of a reward needs at least one preference pair.")
    agreeing = outcomes(scores)
    n_pairs = len(agreeing)
    low, high = proportion_interval(float(agreeing.sum()), n_pairs, ties=int((agreeing == 0.5).sum()))
    return Agreement(accuracy=float(agreeing.mean()), n_pairs=n_pairs, low=low, high=high)


def held_out_accuracy(reward: Reward, pairs: Sequence[PreferencePair]) -> Agreement:
    """Compare `reward` with pairs it has not learnt from; a tie counts half.

    Raises:
        ValueError: If there are no pairs.
    """
    return agreement_of(score_pairs(reward, pairs) if pairs else torch.empty(0, 2))
