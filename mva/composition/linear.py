"""The exact linear combination of updates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from mva.composition.updates import composed, modules_of
from mva.models.value_vector import LowRank, ValueVector


@dataclass(frozen=True)
class Linear:
    """`theta(omega) = sum_i omega_i s_i B_i A_i`, exactly: the factors are concatenated, so the ranks add up.

    (PEFT's `linear` averages A and B apart, which adds the cross terms `B_i A_j`.) Source: arXiv 2511.17579, Sec. 4.2.
    """

    name: ClassVar[str] = "linear"
    linear: ClassVar[bool] = True

    def compose(self, vectors: Sequence[ValueVector], coefficients: Mapping[str, float]) -> ValueVector:
        """Concatenate the factors, with coefficient and scaling folded into B; the result's scaling is 1."""
        factors = {}
        for module in modules_of(vectors):
            parts = [(coefficients[v.value], v.factors[module]) for v in vectors if module in v.factors]
            a = torch.cat([factor.a for _, factor in parts])
            b = torch.cat([omega * factor.scaling * factor.b for omega, factor in parts], dim=1)
            factors[module] = LowRank(a, b, 1.0)
        return composed(vectors, coefficients, factors, name=self.name)
