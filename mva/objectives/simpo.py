"""Simple preference optimisation (arXiv 2405.14734, eq. 6).

    loss = -log sigmoid(beta * (log pi(chosen) - log pi(rejected)) - gamma)

with log-probs averaged over a response's tokens, as generation ranks them. No reference policy: nothing but a small
learning rate keeps the policy near the base.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from mva.checks import NotNegative, Positive, check
from mva.fingerprint import kind


@kind("mva.objectives.simpo.SimPO")
@dataclass(frozen=True)
class SimPO:
    """The sigmoid loss of average log-probs.

    `beta` scales the reward (far larger than DPO's: averages differ less than sums do); `gamma` is the margin of
    rewards that a pair has to reach, in the same unit.
    """

    length_normalised: ClassVar[bool] = True

    beta: Positive = 2.0
    gamma: NotNegative = 1.0

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
        """See `PreferenceLoss`; the implicit reward is `beta * log pi`, a token. The reference is not looked at."""
        chosen_rewards = self.beta * policy_chosen
        rejected_rewards = self.beta * policy_rejected
        losses = -logsigmoid(chosen_rewards - rejected_rewards - self.gamma)
        return losses, chosen_rewards.detach(), rejected_rewards.detach()
