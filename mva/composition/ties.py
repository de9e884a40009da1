"""TIES on exact updates: trim, elect signs, and merge where signs agree (arXiv 2306.01708)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mva.composition.updates import composed, full_rank, modules_of
from mva.models.value_vector import ValueVector


@dataclass(frozen=True)
class Ties:
    """TIES-merging of the scaled updates `omega_i theta_i`, `theta_i = s_i B_i A_i` dense.

    1. Trim: of each vector keep the share `density` of its entries, largest magnitude first, over all modules.
    2. Elect: the sign of an entry is `gamma = sign(sum_i omega_i theta_i)`.
    3. Merge: the mean of the entries `omega_i theta_i` that are not zero and have the sign gamma.

    Coefficients that all equal lambda give the published `lambda * TIES(theta)`. A vector with coefficient 0 neither
    votes nor counts, so that one-hot coefficients reproduce the (trimmed) vector. The mean divides by how many
    agree, not by the sum of the coefficients: where two vectors agree, it is half of the linear combination, and
    the step from coefficient 0 to a tiny one is not continuous. Hence look at the box, not at the simplex alone.

    PEFT's `ties` does the same to A and B apart, module by module, with signs elected before the weights.
    """

    density: float = 0.2
    linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse a share that is none.

        Raises:
            ValueError: If `density` is outside (0, 1].
        """
        if not 0 < self.density <= 1:
            raise ValueError(f"composition.density is {self.density}: the share of entries kept lies in (0, 1].")

    @property
    def name(self) -> str:
        """The density is part of the name: candidates of different densities differ."""
        return f"ties {self.density:g}"

    def compose(self, vectors: Sequence[ValueVector], coefficients: Mapping[str, float]) -> ValueVector:
        """Trim every vector, then elect and merge module by module."""
        trimmed = [(coefficients[v.value], _trim(v, self.density)) for v in vectors]
        factors = {}
        for module in modules_of(vectors):
            scaled = [omega * updates[module] for omega, updates in trimmed if module in updates]
            factors[module] = full_rank(_disjoint_mean(torch.stack(scaled)))
        return composed(vectors, coefficients, factors, name=self.name)


def _trim(vector: ValueVector, density: float) -> dict[str, Tensor]:
    """The dense updates with the smallest entries set to zero; entries that tie with the last one kept stay."""
    updates = {module: factor.update() for module, factor in vector.factors.items()}
    if density == 1:
        return updates
    magnitudes = torch.cat([update.abs().flatten() for update in updates.values()])
    kept = max(1, round(density * len(magnitudes)))
    threshold = magnitudes.kthvalue(len(magnitudes) - kept + 1).values
    return {module: update * (update.abs() >= threshold) for module, update in updates.items()}


def _disjoint_mean(updates: Tensor) -> Tensor:
    """Shape: `(n_vectors, d_out, d_in) -> (d_out, d_in)`; zero where nobody votes or the votes cancel."""
    signs = updates.sign()
    agreeing = (signs == updates.sum(dim=0).sign()) & (signs != 0)
    return (updates * agreeing).sum(dim=0) / agreeing.sum(dim=0).clamp(min=1)
