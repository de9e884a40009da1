"""Overlap of the spaces that two sets of rows span: the mean squared cosine of the principal angles.

    D(x, y) = tr(P_x P_y) / min(r_x, r_y),   P_x = x^T (x x^T)^-1 x

For the rows of A it says how far two updates read the same directions, for the columns of B how far they write them. It
is O-LoRA's constraint (`orthogonal`) without that one's weakness: neither shrinking nor refactoring changes it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mva.estimators.base import View
from mva.estimators.samples import FactorRows
from mva.fingerprint import kind


@kind("mva.estimators.subspace_overlap.SubspaceOverlap")
@dataclass(frozen=True)
class SubspaceOverlap:
    """0 for orthogonal spaces, 1 where one holds the other; `max(r_x, r_y) / d` on average for random ones. Symmetric.

    Directions that are weaker than the strongest by the root of the float64 precision count as absent; rows that are
    all zero span nothing and overlap with nothing.
    """

    views: ClassVar[frozenset[str]] = frozenset({"factor_rows"})
    default_view: ClassVar[View[Tensor]] = FactorRows("A")
    invariances: ClassVar[frozenset[str]] = frozenset({"scale", "refactoring"})

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Measure each module. Shape: `x` `(modules, r_x, d)`, `y` `(modules, r_y, d)` -> `(modules,)`."""
        wide_x, wide_y = x.double(), y.double()  # Gram matrices square the condition number
        cross = wide_x @ wide_y.mT
        left = torch.linalg.solve(_gram(wide_x), cross)
        right = torch.linalg.solve(_gram(wide_y), cross.mT)
        overlap = (left * right.mT).sum(dim=(-2, -1)) / min(x.shape[-2], y.shape[-2])
        return overlap.to(x.dtype)


def _gram(x: Tensor) -> Tensor:
    """`x x^T`, made invertible by a ridge that is far below every direction that counts."""
    gram = x @ x.mT
    size = gram.diagonal(dim1=-2, dim2=-1).mean(dim=-1).detach()
    ridge = torch.where(size > 0, 1e-15 * size, 1.0)
    return gram + ridge[:, None, None] * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
