"""InfoNCE: a lower bound of mutual information by picking the true partner (arXiv 1807.03748, Sec. 2.3).

    I(x; y) >= E[ T(x, y) - log( (exp T(x, y) + sum_k exp T(x, y_k)) / K ) ],   K - 1 wrong partners y_k

It varies less than MINE, but can't exceed log K whatever the samples share.
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


def info_nce(true: Tensor, wrong: Tensor) -> Tensor:
    """The bound from the scores of true pairs and of wrong ones, in nats; at most `log(negatives + 1)`.

    Shape: `(modules, n)`, `(modules, negatives, n)` -> `(modules,)`.
    """
    all_scores = torch.cat([true.unsqueeze(-2), wrong], dim=-2)
    return (true - all_scores.logsumexp(dim=-2) + math.log(all_scores.shape[-2])).mean(dim=-1)


class PartnerChoice(PairScores):
    """The critic: a classifier of the true partner among K."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Bound each module's mutual information. Shape: `(modules, n, d_x)`, `(modules, n, d_y)` -> `(modules,)`."""
        return info_nce(*self.scores(x, y))

    def fit_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Negative bound, averaged over the modules."""
        return -info_nce(*self.scores(x, y)).mean()


@kind("mva.estimators.info_nce.InfoNCE")
@dataclass(frozen=True)
class InfoNCE:
    """InfoNCE of paired samples, in nats, at most `log(negatives + 1)`. About 0 at independence.

    `dimension` is what samples are projected to, `hidden` the width of the critic, `negatives` the number of wrong
    partners that the true one is picked from.
    """

    dimension: Width = 16
    hidden: Width = 32
    negatives: Count = 15
    budget: CriticBudget = field(default_factory=CriticBudget)

    views: ClassVar[frozenset[str]] = ROWS
    default_view: ClassVar[View[Tensor]] = FactorRows("A")
    least_samples: ClassVar[int] = 4
    invariances: ClassVar[frozenset[str]] = frozenset({"scale"})

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def critic(self, seed: int) -> PartnerChoice:
        """Make the critic, without a trace in the global generator."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return PartnerChoice(self.dimension, self.hidden, negatives=self.negatives)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Measure each module by a critic fitted here and now (see `learned.measure`). Shape: `(modules,)`."""
        return measure(self, x, y)
