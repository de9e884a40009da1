"""Kahneman-Tversky optimisation of pairs (arXiv 2402.01306, eq. 7).

With log-ratios r = log pi - log pi_reference, a chosen response gains against a reference point z and a rejected one
loses against one:

    loss = (1 - sigmoid(beta * (r(chosen) - z_chosen))) + (1 - sigmoid(beta * (z_rejected - r(rejected))))
    z_chosen = max(0, mean of r(rejected)),  z_rejected = max(0, mean of r(chosen)),  over the batch

The reference points estimate KL(pi || pi_reference), each from the other half of the pairs, and carry no gradient. The
loss saturates on both sides, so that a pair which is hopeless, or mislabelled, is given up.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mva.checks import Positive, check
from mva.fingerprint import kind


@kind("mva.objectives.kto_pair.KTOPair")
@dataclass(frozen=True)
class KTOPair:
    """The loss of both responses of a pair, which is two examples to KTO.

    `beta` is the inverse temperature (larger saturates earlier). The only loss whose pairs see each other: the
    reference points are those of a batch, so that more pairs in one are not the same as more accumulated batches.
    """

    of_the_whole_batch: ClassVar[bool] = True

    beta: Positive = 0.1

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def __call__(
        self,
        policy_chosen: Tensor,
        policy_rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `PreferenceLoss`; the implicit reward is `beta * (log pi - log pi_reference)`."""
        chosen_rewards = self.beta * (policy_chosen - reference_chosen)
        rejected_rewards = self.beta * (policy_rejected - reference_rejected)
        chosen, rejected = chosen_rewards.detach(), rejected_rewards.detach()
        # 1 - sigmoid(x) = sigmoid(-x), without cancellation.
        losses = torch.sigmoid(rejected.mean().clamp(min=0) - chosen_rewards)
        losses = losses + torch.sigmoid(rejected_rewards - chosen.mean().clamp(min=0))
        return losses, chosen, rejected
