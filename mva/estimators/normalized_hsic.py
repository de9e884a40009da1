"""HSIC that sees dependence: unbiased, normalised, with a bandwidth that follows the samples.

    nHSIC(x, y) = HSIC_u(x, y) / sqrt(HSIC_u(x, x) HSIC_u(y, y)),   K_ij = exp(-||x_i - x_j||^2 / (2 m)),  L alike of y

HSIC_u is the unbiased estimate (Song et al., 2012) and m the median of the squared distances between the
samples. It mends the three weaknesses of `hsic`: at independence it is 0 on average, identical samples give 1 however
high their dimension, and it does not change when a vector is scaled, so that shrinking does not lower it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mva.estimators.base import View
from mva.estimators.kernels import squared_distances, unbiased_correlation
from mva.estimators.samples import FactorRows, check_paired
from mva.fingerprint import kind


@kind("mva.estimators.normalized_hsic.NormalizedHSIC")
@dataclass(frozen=True)
class NormalizedHSIC:
    """Unbiased, normalised RBF-HSIC of paired samples, in [-1, 1]. Symmetric; needs 4 samples or more.

    Negative values are noise around independence and are not clamped. Constant samples, as the columns of B where LoRA
    starts, give 0 with a finite gradient. The median takes part in the gradient, which is therefore orthogonal to x.
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
        check_paired(x, y, name="Normalised HSIC", at_least=self.least_samples)
        return unbiased_correlation(_kernel(x), _kernel(y))


def _kernel(x: Tensor) -> Tensor:
    """Gaussian kernel minus 1: centring takes the constant away, and samples that coincide give an exact 0."""
    distances = squared_distances(x)
    rows, columns = torch.triu_indices(x.shape[-2], x.shape[-2], offset=1, device=x.device)
    median = distances[..., rows, columns].median(dim=-1).values[..., None, None]
    return torch.expm1(-distances / (2 * torch.where(median > 0, median, 1.0)))
