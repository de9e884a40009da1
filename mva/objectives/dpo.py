"""Direct preference optimisation (arXiv 2305.18290, eq. 7).

    loss = -log sigmoid(beta * delta),
    delta = (log pi(chosen) - log pi_reference(chosen)) - (log pi(rejected) - log pi_reference(rejected))

With label smoothing eps (conservative DPO: a label is flipped with probability eps):

    loss = -(1 - eps) log sigmoid(beta * delta) - eps log sigmoid(-beta * delta)
"""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor
from torch.nn.functional import logsigmoid

from mva.checks import Bounds, Positive, check
from mva.fingerprint import kind


@kind("mva.objectives.dpo.DPO")
@dataclass(frozen=True)
class DPO:
    """The sigmoid loss; `beta` is the inverse temperature (larger stays closer to the reference policy)."""

    beta: Positive = 0.1
    label_smoothing: Annotated[float, Bounds(0, 0.5, below=True)] = 0.0

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
        margins = chosen_rewards - rejected_rewards
        smoothing = self.label_smoothing
        losses = -(1 - smoothing) * logsigmoid(margins) - smoothing * logsigmoid(-margins)
        return losses, chosen_rewards.detach(), rejected_rewards.detach()
