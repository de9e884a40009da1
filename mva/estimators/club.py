"""CLUB: a contrastive log-ratio upper bound of mutual information (arXiv 2006.12013, Eq. 8 and 14).

    I(x; y) <= E_p(x,y)[log q(y|x)] - E_p(x) E_p(y)[log q(y|x)]

The critic is the conditional q, a Gaussian whose mean and variance are functions of x, fitted by maximum likelihood.
The bound holds where q is close to the true conditional. As an upper bound it is the natural one to minimise.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from mva.checks import check
from mva.estimators.base import CriticBudget, View, Width
from mva.estimators.learned import ROWS, RowCritic, measure, mismatched
from mva.estimators.samples import FactorRows
from mva.fingerprint import kind

MAX_LOG_VARIANCE = 4.0
"""Keeps a conditional that is all but deterministic (identical vectors) from an infinite likelihood."""


def club(y: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """The bound, over all n^2 pairs of x_i and y_j, in nats. The variance's normalisation cancels.

        1/2 mean_i sum_d [ mean_j (y_jd - mu_id)^2 - (y_id - mu_id)^2 ] / s_id^2

    The mean over j is `variance(y) + (mean(y) - mu_i)^2`, so that no pair is formed. It has the pairs with j = i in it,
    which lower the bound by the factor (n - 1) / n.

    Shape: `y`, and `mean` and `log_variance` of q(y|x_i), all `(modules, n, d)` -> `(modules,)`.
    """
    centre = y.mean(dim=-2, keepdim=True)
    spread = (y - centre).square().mean(dim=-2, keepdim=True)
    apart = spread + (centre - mean).square() - (y - mean).square()
    return 0.5 * (apart * (-log_variance).exp()).sum(dim=-1).mean(dim=-1)


def club_sample(y: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """The bound with one wrong partner for each x_i instead of all: the same on average, but noisier (Sec. 3.3).

    The partner is the next sample: rows come in no order, so that a fixed shift is as good as a random one.
    Shape: as `club`.
    """
    apart = (mismatched(y, 1).squeeze(-3) - mean).square() - (y - mean).square()
    return 0.5 * (apart * (-log_variance).exp()).sum(dim=-1).mean(dim=-1)


class GaussianConditional(RowCritic):
    """The critic: q(y|x) with mean and log-variance from a network of one hidden layer."""

    def __init__(self, dimension: int, hidden: int, *, sampled: bool) -> None:
        super().__init__(dimension)
        self.sampled = sampled
        self.mean = nn.Sequential(nn.Linear(dimension, hidden), nn.SiLU(), nn.Linear(hidden, dimension))
        self.log_variance = nn.Sequential(nn.Linear(dimension, hidden), nn.SiLU(), nn.Linear(hidden, dimension))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Bound each module's mutual information. Shape: `(modules, n, d_x)`, `(modules, n, d_y)` -> `(modules,)`."""
        x, y = self.compress(x, y)
        return (club_sample if self.sampled else club)(y, *self._conditional(x))

    def fit_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean negative log-likelihood of y given x, in nats, up to a constant."""
        x, y = self.compress(x, y)
        mean, log_variance = self._conditional(x)
        return 0.5 * (log_variance + (y - mean).square() * (-log_variance).exp()).sum(dim=-1).mean()

    def _conditional(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(x), MAX_LOG_VARIANCE * torch.tanh(self.log_variance(x) / MAX_LOG_VARIANCE)


@kind("mva.estimators.club.CLUB")
@dataclass(frozen=True)
class CLUB:
    """CLUB of paired samples, in nats; with `sampled` the cheaper CLUBSample.

    `dimension` is what samples are projected to, `hidden` the width of the critic. Not symmetric: the earlier vector is
    predicted from the current one. About 0 at independence, where it may be negative; it has no upper limit.
    """

    dimension: Width = 16
    hidden: Width = 64
    sampled: bool = False
    budget: CriticBudget = field(default_factory=CriticBudget)

    views: ClassVar[frozenset[str]] = ROWS
    default_view: ClassVar[View[Tensor]] = FactorRows("A")
    least_samples: ClassVar[int] = 4
    invariances: ClassVar[frozenset[str]] = frozenset({"scale"})

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def critic(self, seed: int) -> GaussianConditional:
        """Make the critic, without a trace in the global generator."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return GaussianConditional(self.dimension, self.hidden, sampled=self.sampled)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Measure each module by a critic fitted here and now (see `learned.measure`). Shape: `(modules,)`."""
        return measure(self, x, y)
