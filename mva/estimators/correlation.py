"""A correlation proxy on the updates themselves: their squared cosine.

    cos^2(theta, phi) = <theta, phi>^2 / (||theta||^2 ||phi||^2),
    <s B A, t D C> = s t sum((B^T D) * (A C^T))

The inner product comes from the factors: r x r matrices instead of d_out x d_in. Being a function of the
update alone it does not change under `(A, B) -> (M A, B M^-1)`, nor when a vector is scaled.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mva.estimators.base import View
from mva.estimators.samples import LowRankStack, Update
from mva.fingerprint import kind


@kind("mva.estimators.correlation.Correlation")
@dataclass(frozen=True)
class Correlation:
    """Squared cosine of the updates: 0 for orthogonal, 1 for parallel or opposite ones. Symmetric.

    An update that is exactly zero (LoRA starts with B = 0) has no direction: its dependence is 0, and so is
    its gradient. For independent random updates the expectation is about `1 / (d_out d_in)`.
    """

    views: ClassVar[frozenset[str]] = frozenset({"update", "activations"})
    default_view: ClassVar[View[LowRankStack]] = Update()
    invariances: ClassVar[frozenset[str]] = frozenset({"scale"})

    def __call__(self, x: LowRankStack | Tensor, y: LowRankStack | Tensor) -> Tensor:
        """Measure each module; the ranks of `x` and `y` may differ. Shape: `(modules,)`.

        Activations `(modules, tokens, d_out)` are compared as they are: an inner product of updates that weighs
        directions by how often they occur, `<theta, phi> = sum_t (theta x_t) . (phi x_t)`.
        """
        inner = inner_product(x, y)
        # One quotient at a time: the product of two squared norms of small updates underflows in float32.
        return _quotient(inner, inner_product(x, x)) * _quotient(inner, inner_product(y, y))


def inner_product(x: LowRankStack | Tensor, y: LowRankStack | Tensor) -> Tensor:
    """Frobenius inner product of the updates, from the factors, or of activations. Shape: `(modules,)`."""
    if isinstance(x, LowRankStack) and isinstance(y, LowRankStack):
        overlaps = (x.b.mT @ y.b) * (x.a @ y.a.mT)
        return x.scaling * y.scaling * overlaps.sum(dim=(-2, -1))
    assert isinstance(x, Tensor)
    assert isinstance(y, Tensor)
    return (x * y).sum(dim=(-2, -1))


def _quotient(numerator: Tensor, square: Tensor) -> Tensor:
    """Divide where `square` is positive, and leave the numerator (0 there) where it isn't."""
    return numerator / torch.where(square > 0, square, 1.0)
