"""Redundancy between the rows of two vectors, in the manner of Barlow Twins (arXiv 2103.03230, Eq. 2).

    D(x, y) = sum_kl C_kl^2 / sqrt(n_x n_y),   C_kl = corr(x_k, y_l)

Barlow Twins lowers the off-diagonal entries of a cross-correlation matrix so that its variables say different things.
Here the variables are the rows of both vectors, observed at each of the d columns, and C is the off-diagonal block
between the vectors: within a vector rows may correlate, between vectors none should, so no entry of it is spared.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mva.estimators.base import View
from mva.estimators.samples import FactorRows
from mva.fingerprint import kind


@kind("mva.estimators.cross_correlation.CrossCorrelation")
@dataclass(frozen=True)
class CrossCorrelation:
    """Squared correlations between every row of one vector and every row of the other, per row. Symmetric.

    Independent rows give about `sqrt(n_x n_y) / (d - 1)`; uncorrelated rows against themselves give 1, and rows that
    are all alike give up to n. Rows pair with all rows, so that their order and their number (the rank) may differ. A
    row that is constant correlates with nothing.
    """

    views: ClassVar[frozenset[str]] = frozenset({"factor_rows", "update_rows"})
    default_view: ClassVar[View[Tensor]] = FactorRows("A")
    invariances: ClassVar[frozenset[str]] = frozenset({"scale", "row_permutation"})

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Measure each module. Shape: `x` `(modules, n_x, d)`, `y` `(modules, n_y, d)` -> `(modules,)`.

        Raises:
            ValueError: If `x` and `y` differ in the number of columns.
        """
        if x.shape[-1] != y.shape[-1]:
            raise ValueError(
                f"Cross-correlation observes the rows of both vectors at the same columns, but one vector has "
                f"{x.shape[-1]} and the other {y.shape[-1]}: the vectors must belong to the same base."
            )
        correlations = _standardise(x) @ _standardise(y).mT
        return correlations.square().sum(dim=(-2, -1)) / (x.shape[-2] * y.shape[-2]) ** 0.5


def _standardise(x: Tensor) -> Tensor:
    """Bring every row to mean 0 and length 1."""
    centred = x - x.mean(dim=-1, keepdim=True)
    square = centred.square().sum(dim=-1, keepdim=True)
    return centred / torch.where(square > 0, square, 1.0).sqrt()
