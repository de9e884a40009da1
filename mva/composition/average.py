"""Rewarded soups as published: the weights are averaged, and of a LoRA adapter these are its factors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from mva.composition.updates import composed, modules_of
from mva.models.value_vector import LowRank, ValueVector


@dataclass(frozen=True)
class Average:
    """`A = sum_i omega_i A_i`, `B = sum_i omega_i B_i`: every factor is averaged apart.

    The update is then `s sum_i sum_j omega_i omega_j B_i A_j`: beside the vectors, whose coefficients are squared,
    it holds the cross terms `B_i A_j`. One-hot coefficients reproduce the vector. It is an average where the
    coefficients sum to 1 (`search=simplex`); elsewhere the update grows with the square of their sum.
    Source: arXiv 2306.04488, Eq. 1, with its LoRA adapters; `Linear` is the same without the cross terms.
    """

    name: ClassVar[str] = "average"
    linear: ClassVar[bool] = False

    def compose(self, vectors: Sequence[ValueVector], coefficients: Mapping[str, float]) -> ValueVector:
        """Average the factors of every module.

        Raises:
            ValueError: If the vectors differ in rank or scaling, so that their factors have no common average.
        """
        factors = {}
        for module in modules_of(vectors):
            parts = [(coefficients[v.value], v.factors[module]) for v in vectors if module in v.factors]
            kinds = {(factor.a.shape[0], factor.scaling) for _, factor in parts}
            if len(kinds) > 1:
                raise ValueError(
                    f"composition=average needs vectors of the same rank and scaling, but in {module} they have "
                    f"(rank, scaling) {sorted(kinds)}: train them alike, or use composition=linear."
                )
            a = torch.stack([omega * factor.a for omega, factor in parts]).sum(dim=0)
            b = torch.stack([omega * factor.b for omega, factor in parts]).sum(dim=0)
            factors[module] = LowRank(a, b, parts[0][1].scaling)
        return composed(vectors, coefficients, factors, name=self.name)
