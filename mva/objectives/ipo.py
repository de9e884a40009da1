"""Identity preference optimisation (arXiv 2310.12036, eq. 17).

    loss = (delta - 1 / (2 beta))^2,
    delta = (log pi(chosen) - log pi_reference(chosen)) - (log pi(rejected) - log pi_reference(rejected))

A regression of the log-ratio's margin onto a finite target: where DPO pushes a pair that it has learnt further and
further from the reference policy, this loss pulls it back. The log-probs are averaged over a response's tokens by
default: the equation does not say so, but the paper's results were obtained so (its authors to TRL, whose loss this
is), and summed ones ask of a long and of a short response the same margin in nats. `average=False` is the equation to
the letter.
"""

from dataclasses import dataclass

from torch import Tensor

from mva.checks import Positive, check
from mva.fingerprint import added, kind


@kind("mva.objectives.ipo.IPO")
@dataclass(frozen=True)
class IPO:
    """The squared loss; `beta`, the paper's tau, asks for a margin of `1 / (2 beta)` nats.

    That is nats a token where log-probs are averaged (`average`), and nats a response where they are summed.
    """

    beta: Positive = 0.1
    average: bool = added(True)

    @property
    def length_normalised(self) -> bool:
        """Whether the four log-probs are averages over a response's tokens (see `PreferenceLoss`)."""
        return self.average

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
        chosen = policy_chosen - reference_chosen
        rejected = policy_rejected - reference_rejected
        losses = (chosen - rejected - 1 / (2 * self.beta)) ** 2
        return losses, self.beta * chosen.detach(), self.beta * rejected.detach()
