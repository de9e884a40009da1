"""Odds ratio preference optimisation (arXiv 2403.07691, eqs. 3 to 7).

    loss = -log P(chosen) - beta * log sigmoid(log(odds(chosen) / odds(rejected))),
    odds(y) = P(y) / (1 - P(y)),  log P(y) = log pi(y | x) averaged over the tokens of y

Fine-tuning on the chosen response with a penalty on the rejected one: no reference policy, and no supervised stage
before it. The likelihood is that of the response alone, as in the paper's equations; TRL's trainer takes the prompt's
tokens in.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from mva.checks import Positive, check
from mva.fingerprint import kind


@kind("mva.objectives.orpo.ORPO")
@dataclass(frozen=True)
class ORPO:
    """Likelihood and odds ratio; `beta`, the paper's lambda, is the weight of the odds ratio."""

    length_normalised: ClassVar[bool] = True

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
        """See `PreferenceLoss`; the implicit reward is `beta * log P`. The reference is not looked at."""
        odds_ratios = logsigmoid(_log_odds(policy_chosen) - _log_odds(policy_rejected))
        losses = -policy_chosen - self.beta * odds_ratios
        return losses, self.beta * policy_chosen.detach(), self.beta * policy_rejected.detach()


def _log_odds(log_prob: Tensor) -> Tensor:
    # A certain response has infinite odds, whose gradient is NaN: it counts as certain up to rounding.
    below_one = log_prob.clamp(max=-torch.finfo(log_prob.dtype).eps)
    return below_one - torch.log(-torch.expm1(below_one))
