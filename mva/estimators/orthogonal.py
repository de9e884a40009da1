"""The orthogonality constraint of O-LoRA (arXiv 2310.14152), the rival in the paper's Fig. 4.

    D(theta, phi) = ||A_theta A_phi^T||_F^2

It is 0 if and only if the row spaces of the two A factors are orthogonal: the updates then read disjoint directions of
their input. As published it is not normalised, so that shrinking A lowers it as well.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mva.estimators.base import View
from mva.estimators.samples import FactorRows
from mva.fingerprint import kind


@kind("mva.estimators.orthogonal.Orthogonal")
@dataclass(frozen=True)
class Orthogonal:
    """Squared inner products of all rows of one factor with all rows of the other. Never negative, symmetric.

    With orthonormal rows it is the overlap of the row spaces, `sum_i cos^2(angle_i)` over the principal angles: r for
    equal spaces and r^2 / d on average for independent ones. The ranks may differ.
    """

    views: ClassVar[frozenset[str]] = frozenset({"factor_rows"})
    default_view: ClassVar[View[Tensor]] = FactorRows("A")
    invariances: ClassVar[frozenset[str]] = frozenset({"row_permutation"})

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Measure each module. Shape: `x` `(modules, r_x, d)`, `y` `(modules, r_y, d)` -> `(modules,)`."""
        return (x @ y.mT).square().sum(dim=(-2, -1))
