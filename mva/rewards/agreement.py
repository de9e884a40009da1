"""How often a reward agrees with preference pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import norm
from torch import Tensor

from mva.data.preference import PreferencePair
from mva.rewards.base import Reward


@dataclass(frozen=True)
class Agreement:
    """The share of pairs whose chosen response gets the higher score, with its 95 % Wilson interval."""

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
    agreeing = float((chosen > rejected).sum() + 0.5 * (chosen == rejected).sum())
    low, high = _wilson_interval(agreeing, len(pairs))
    return Agreement(accuracy=agreeing / len(pairs), n_pairs=len(pairs), low=low, high=high)


def _wilson_interval(successes: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    z = float(norm.ppf(0.5 + confidence / 2))
    centre = (successes + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * (successes * (n - successes) / n + z**2 / 4) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)
