"""MINE: the Donsker-Varadhan lower bound of mutual information (arXiv 1801.04062, Eq. 10, Sec. 3.2).

    I(x; y) >= E_p(x,y)[T] - log E_p(x)p(y)[exp T]

The critic T is fitted by raising the bound. The gradient of the logarithm on a batch is biased; as the source proposes,
its denominator is a moving average over the steps.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from mva.checks import Count, check
from mva.estimators.base import CriticBudget, View, Width
from mva.estimators.learned import ROWS, measure
from mva.estimators.samples import FactorRows
from mva.estimators.scores import PairScores
from mva.fingerprint import kind

AVERAGE_RATE = 0.1
"""Weight of the newest batch in the moving average."""


def donsker_varadhan(true: Tensor, wrong: Tensor) -> Tensor:
    """The bound from the scores of true pairs and of wrong ones, in nats. On few pairs it is too high on average.

    Shape: `(modules, n)`, `(modules, negatives, n)` -> `(modules,)`.
    """
    return true.mean(dim=-1) - _log_mean_exp(wrong.flatten(-2))


class DonskerVaradhan(PairScores):
    """The critic with the moving average of `E[exp T]` over wrong pairs (1 for a fresh critic, whose T is 0)."""

    log_average: Tensor

    def __init__(self, dimension: int, hidden: int, *, negatives: int) -> None:
        super().__init__(dimension, hidden, negatives=negatives)
        self.register_buffer("log_average", torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Bound each module's mutual information. Shape: `(modules, n, d_x)`, `(modules, n, d_y)` -> `(modules,)`."""
        return donsker_varadhan(*self.scores(x, y))

    def fit_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Negative bound over all modules together, with the gradient corrected by the moving average.

        `-(E[T] - log E[exp T])` in value; the gradient of the second term is `E[exp T grad T] / average`.
        """
        true, wrong = self.scores(x, y)
        log_mean = _log_mean_exp(wrong.flatten())
        older = self.log_average + math.log(1 - AVERAGE_RATE)
        self.log_average = torch.logaddexp(older, log_mean.detach() + math.log(AVERAGE_RATE))
        corrected = (log_mean - self.log_average).exp()
        return log_mean.detach() + corrected - corrected.detach() - true.mean()


@kind("mva.estimators.mine.MINE")
@dataclass(frozen=True)
class MINE:
    """MINE of paired samples, in nats. About 0 at independence, where it may be negative.

    `dimension` is what samples are projected to, `hidden` the width of the critic, `negatives` the number of wrong
    partners that each sample is compared with. As a lower bound it can be minimised by deceiving the critic: see that
    the budget lets the critic follow.
    """

    dimension: Width = 16
    hidden: Width = 32
    negatives: Count = 8
    budget: CriticBudget = field(default_factory=CriticBudget)

    views: ClassVar[frozenset[str]] = ROWS
    default_view: ClassVar[View[Tensor]] = FactorRows("A")
    least_samples: ClassVar[int] = 4
    invariances: ClassVar[frozenset[str]] = frozenset({"scale"})

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def critic(self, seed: int) -> DonskerVaradhan:
        """Make the critic, without a trace in the global generator."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return DonskerVaradhan(self.dimension, self.hidden, negatives=self.negatives)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Measure each module by a critic fitted here and now (see `learned.measure`). Shape: `(modules,)`."""
        return measure(self, x, y)


def _log_mean_exp(scores: Tensor) -> Tensor:
    return scores.logsumexp(dim=-1) - math.log(scores.shape[-1])
