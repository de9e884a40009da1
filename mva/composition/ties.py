"""TIES on exact updates: trim, elect signs, and merge where signs agree (arXiv 2306.01708)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from mva.checks import Bounds, check
from mva.composition.updates import composed, full_rank, modules_of
from mva.models.value_vector import ValueVector


@dataclass(frozen=True)
class Ties:
    """TIES-merging of the scaled updates `omega_i theta_i`, `theta_i = s_i B_i A_i` dense.

    1. Trim: of each vector keep the share `density` of its entries, largest magnitude first, over all modules.
    2. Elect: the sign of an entry is `gamma = sign(sum_i omega_i theta_i)`.
    3. Merge: the mean of the entries `omega_i theta_i` that are not zero and have the sign gamma; the sum of those
       entries is divided by how many there are (`normalise="count"`) or by the sum of their |omega_i| ("weights").

    Coefficients that all equal lambda give the published `lambda * TIES(theta)`. A vector with coefficient 0 neither
    votes nor counts, so that one-hot coefficients reproduce the (trimmed) vector. Divided by the count, the mean is
    half of the linear combination where two vectors agree, and the step from coefficient 0 to a tiny one is not
    continuous: look at the box, not at the simplex alone. Divided by the weights, as public merging tools do, it is a
    weighted average: continuous, and the same for omega and 2 omega.

    PEFT's `ties` does the same to A and B apart, module by module, with signs elected before the weights.
    """

    density: Annotated[float, Bounds(0, 1, above=True)] = 0.2
    normalise: Literal["count", "weights"] = "count"
    linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    @property
    def name(self) -> str:
        """The settings are part of the name: candidates of different densities differ."""
        return f"ties {self.density:g}" + (" by weights" if self.normalise == "weights" else "")

    def compose(self, vectors: Sequence[ValueVector], coefficients: Mapping[str, float]) -> ValueVector:
        """Trim every vector, then elect and merge module by module."""
        trimmed = [(coefficients[v.value], _trim(v, self.density)) for v in vectors]
        factors = {}
        for module in modules_of(vectors):
            present = [(omega, updates[module]) for omega, updates in trimmed if module in updates]
            scaled = torch.stack([omega * update for omega, update in present])
            shares = [abs(omega) if self.normalise == "weights" else 1.0 for omega, _ in present]
            factors[module] = full_rank(_disjoint_mean(scaled, torch.tensor(shares).to(scaled)))
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


def _disjoint_mean(updates: Tensor, shares: Tensor) -> Tensor:
    """Divide the sum of the entries that agree by their shares; zero where nobody votes or the votes cancel.

    Shape: `(n_vectors, d_out, d_in)` and `(n_vectors,)` -> `(d_out, d_in)`.
    """
    signs = updates.sign()
    agreeing = (signs == updates.sum(dim=0).sign()) & (signs != 0)
    total = (agreeing * shares[:, None, None]).sum(dim=0)
    return (updates * agreeing).sum(dim=0) / torch.where(total > 0, total, 1.0)
