"""Bias-corrected distance correlation (Szekely and Rizzo, 2013).

    R(x, y) = <U(a), U(b)> / (||U(a)|| ||U(b)||),   a_ij = ||x_i - x_j||,  b_ij = ||y_i - y_j||

with U-centring U (arXiv 1310.2926). It estimates the squared distance correlation, which is 0 if and only if the
samples are independent, and needs no bandwidth.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mva.estimators.base import View
from mva.estimators.kernels import squared_distances, unbiased_correlation
from mva.estimators.samples import FactorRows, check_paired
from mva.fingerprint import kind


@kind("mva.estimators.distance_correlation.DistanceCorrelation")
@dataclass(frozen=True)
class DistanceCorrelation:
    """Bias-corrected squared distance correlation of paired samples, in [-1, 1]. Symmetric; needs 4 samples or more.

    Negative values are noise around independence and are not clamped. Constant samples give 0.
    """

    views: ClassVar[frozenset[str]] = frozenset({"factor_rows", "update_rows", "activations"})
    default_view: ClassVar[View[Tensor]] = FactorRows("A")
    least_samples: ClassVar[int] = 4
    invariances: ClassVar[frozenset[str]] = frozenset({"scale"})

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Measure each module. Shape: `x` `(modules, n, d_x)`, `y` `(modules, n, d_y)` -> `(modules,)`.

        Raises:
            ValueError: If `x` and `y` differ in the number of samples, or have fewer than 4.
        """
        check_paired(x, y, name="Distance correlation", at_least=self.least_samples)
        return unbiased_correlation(_distances(x), _distances(y))


def _distances(x: Tensor) -> Tensor:
    """Euclidean distances, with the gradient 0 where samples coincide (the root has none there)."""
    squares = squared_distances(x)
    apart = squares > 0
    return torch.where(apart, squares, 1.0).sqrt() * apart
