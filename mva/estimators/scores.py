"""The critic that tells true pairs from wrong ones: a score T(x, y), shared by MINE and InfoNCE."""

import torch
from torch import Tensor, nn

from mva.estimators.learned import RowCritic, mismatched

MAX_SCORE = 5.0
"""Nats."""


class PairScores(RowCritic):
    """Score pairs by a network that sees x, y and their products.

    The products make the score of Gaussian pairs, `a x y - b (x^2 + y^2)`, easy to learn. The last layer starts at 0: a
    fresh critic finds nothing. Scores stay within `MAX_SCORE`: on few samples the exponential of an unlimited one is
    all outliers, and the bound grows without end on samples that the critic knows by heart.
    """

    def __init__(self, dimension: int, hidden: int, *, negatives: int) -> None:
        super().__init__(dimension)
        self.negatives = negatives
        last = nn.Linear(hidden, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(nn.Linear(3 * dimension, hidden), nn.SiLU(), last)

    def scores(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Score true pairs, and the same x with wrong partners.

        Shape: `(modules, n, d_x)`, `(modules, n, d_y)` -> `(modules, n)`, `(modules, negatives, n)`.
        """
        x, y = self.compress(x, y)
        partners = torch.cat([y.unsqueeze(-3), mismatched(y, self.negatives)], dim=-3)
        x = x.unsqueeze(-3).expand_as(partners)
        free = self.network(torch.cat([x, partners, x * partners], dim=-1)).squeeze(-1)
        scores = MAX_SCORE * torch.tanh(free / MAX_SCORE)
        return scores[..., 0, :], scores[..., 1:, :]
