"""Robust DPO, for labels of which a known share is flipped (arXiv 2403.00409).

With DPO's loss l(m) = -log sigmoid(m) of the margin m = beta * delta (see `DPO`) and the share eps:

    loss = ((1 - eps) l(m) - eps l(-m)) / (1 - 2 eps)

It is unbiased where conservative DPO is not: averaged over the flips of the label, `(1 - eps) loss(m) + eps loss(-m)`,
it is l(m), the loss of the true label. The price: it has no lower bound, for at large margins it falls by
`eps / (1 - 2 eps)` for every unit of m.
"""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor
from torch.nn.functional import logsigmoid

from mva.checks import Bounds, Positive, check
from mva.fingerprint import kind


@kind("mva.objectives.robust_dpo.RobustDPO")
@dataclass(frozen=True)
class RobustDPO:
    """The unbiased loss; `label_smoothing` is the share of flipped labels, with 0 it is `DPO`."""

    beta: Positive = 0.1
    label_smoothing: Annotated[float, Bounds(0, 0.5, below=True)] = 0.1

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
        flipped = self.label_smoothing
        losses = (flipped * logsigmoid(-margins) - (1 - flipped) * logsigmoid(margins)) / (1 - 2 * flipped)
        return losses, chosen_rewards.detach(), rejected_rewards.detach()
