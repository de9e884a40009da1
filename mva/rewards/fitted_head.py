"""A linear reward on frozen features, and an ensemble of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mva.data.preference import Dialogue
from mva.rewards.features import HiddenFeatures

Report = dict[str, float]


@dataclass(frozen=True)
class FittedHead:
    """The score `w . f(prompt, response) - offset`, in units of the training responses' standard deviation.

    The training responses have mean 0 and standard deviation 1. `report` holds the chosen `inverse_penalty`, the
    `cross_validated_log_loss` on the training pairs (nats a pair), and the `length_correlation` between the score and
    the number of words (a value whose chosen responses are longer teaches the head length).
    """

    key: str
    features: HiddenFeatures
    weight: Tensor
    offset: float
    report: Report

    def score(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Score with the linear head. Shape: `(n,)`."""
        return self.features(list(zip(prompts, responses, strict=True))) @ self.weight - self.offset


@dataclass(frozen=True)
class HeadEnsemble(FittedHead):
    """A head that scores as it would alone, with heads beside it that were fitted to resampled pairs.

    `members` are the weights, of shape `(n_members, n_features)`, and `offsets` `(n_members,)`; the first member is the
    head itself. Each member's scores of the training responses have mean 0 and standard deviation 1.
    """

    members: Tensor
    offsets: Tensor

    def disagreement(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Return the standard deviation (n - 1) of each response's score over the members. Shape: `(n,)`."""
        scores = self.features(list(zip(prompts, responses, strict=True))) @ self.members.T - self.offsets
        return scores.std(dim=1)
