"""Multi-objective DPO: the margin loss (arXiv 2310.03708, eq. 8 and Sec. 3).

To train value k with preference weight `w_k`, given rewards `r_j` of the other values with weights `w_j`:

    loss = -log sigmoid( (beta / w_k) * delta - (1 / w_k) * sum_{j != k} w_j (r_j(chosen) - r_j(rejected)) )

with `delta` DPO's difference of log-ratios. Moving the margin into the reference policy,

    log pi_tilted(y | x) = log pi_reference(y | x) + (1 / beta) * sum_{j != k} w_j r_j(x, y),

leaves `-log sigmoid((beta / w_k) * delta_tilted)`: DPO against a tilted reference. With the implicit rewards of the
other values' vectors, `r_j = beta (log pi_j - log pi_reference)`, beta cancels from the tilt.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mva.fingerprint import kind
from mva.objectives.base import PreferenceLoss, length_normalised, of_the_whole_batch
from mva.objectives.dpo import DPO


def tilted(reference: Tensor, others: Iterable[tuple[Tensor, float]]) -> Tensor:
    """Tilt the reference policy by other policies' implicit rewards: `reference + sum_j w_j (log pi_j - reference)`.

    Log-probs of any one shape, in nats.
    """
    return reference + sum(weight * (log_probs - reference) for log_probs, weight in others)


@kind("mva.objectives.modpo.MODPO")
@dataclass(frozen=True)
class MODPO:
    """A loss of log-ratios, in which value k counts `weight` and the tilted reference the rest.

    `loss` is any loss of log-ratios (the paper's is DPO); it is given log-ratios against the tilted reference over
    `weight`. With weight 1 and no tilt it is `loss`.
    """

    loss: PreferenceLoss = field(default_factory=DPO)
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no margin loss.

        Raises:
            ValueError: If the weight is not in (0, 1], or the loss is one of averaged log-probs, which a margin of sums
                does not fit.
        """
        if not 0 < self.weight <= 1:
            raise ValueError(f"MODPO's preference weight is {self.weight}: it must be above 0 and at most 1.")
        if length_normalised(self.loss):
            raise ValueError(
                f"MODPO needs a loss of log-ratios as DPO's, not {type(self.loss).__name__}: objective=dpo."
            )

    @property
    def of_the_whole_batch(self) -> bool:
        """Say whether the pairs of a batch see each other: as they do in `loss`."""
        return of_the_whole_batch(self.loss)

    def __call__(
        self,
        policy_chosen: Tensor,
        policy_rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `PreferenceLoss`; the reference is the tilted one."""
        chosen = (policy_chosen - reference_chosen) / self.weight
        rejected = (policy_rejected - reference_rejected) / self.weight
        return self.loss(chosen, rejected, torch.zeros_like(chosen), torch.zeros_like(rejected))
