"""OrthAlign (arXiv 2509.24610): the next update lives where the earlier ones do not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Literal

import torch
from torch import Tensor

from mva.checks import Bounds, check
from mva.fingerprint import added, kind
from mva.models.value_vector import LowRank
from mva.training.constraint import Factors


@kind("mva.training.orthogonal_complement.OrthogonalComplement")
@dataclass(frozen=True)
class OrthogonalComplement:
    """Hold every module's update `s B A` to `U^T B = 0` and `||s B A||_2 <= spectral_bound * max_j ||s_j B_j A_j||_2`.

    U are the leading left singular vectors of the earlier updates `[s_1 B_1 A_1, ..., s_j B_j A_j]`, which together
    carry the share `energy` of their squared Frobenius norm: what is added to a module's output never points where the
    earlier updates mostly point. Modules that no earlier vector adapts are free.

    Two variants: `directions` closes this share of the singular directions, the leading ones, whatever energy they
    carry; `acts_on="gradient"` projects the gradient of B before every optimizer step instead of the vector after it
    (an optimizer that scales entries apart, as AdamW, then leaves the complement again, and nothing bounds the norm).

    Source: arXiv 2509.24610 (singular value decomposition of the earlier update, projection onto the orthogonal
    complement of its principal subspace, bounded spectral norm). Here the factor B is projected, which is the same as
    to project the update from the left.
    """

    energy: Annotated[float, Bounds(0, 1, above=True)] = 0.9
    spectral_bound: Annotated[float, Bounds(0, above=True, infinite=True)] = 2.0
    directions: Annotated[float, Bounds(0, 1, above=True)] | None = added(None)
    acts_on: Literal["vector", "gradient"] = added("vector")

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def prepare(self, earlier: Sequence[Factors]) -> Callable[[Factors], None]:
        """See `Constraint`."""
        names = {name for factors in earlier for name in factors}
        bases = {name: self._principal([f[name] for f in earlier if name in f]) for name in names}

        def project(current: Factors) -> None:
            for name, factor in current.items():
                if name not in bases:
                    continue
                basis, bound = bases[name]
                if self.acts_on == "vector":
                    _project(factor, basis, bound)
                elif factor.b.grad is not None:
                    factor.b.grad -= basis @ (basis.T @ factor.b.grad)

        return project

    def _principal(self, updates: Sequence[LowRank]) -> tuple[Tensor, float]:
        """Principal directions `(d_out, k)`, and the bound on the spectral norm."""
        whole = torch.cat([_in_output_space(factor) for factor in updates], dim=1)
        u, s, _ = torch.linalg.svd(whole, full_matrices=False)
        carried = s.square().cumsum(0) / s.square().sum().clamp(min=torch.finfo(s.dtype).tiny)
        count = int((carried < self.energy).sum()) + 1
        if self.directions is not None:
            count = ceil(self.directions * len(s))
        largest = max(float(torch.linalg.matrix_norm(_in_output_space(factor), 2)) for factor in updates)
        return u[:, :count], self.spectral_bound * largest


def _in_output_space(factor: LowRank) -> Tensor:
    """Return `(d_out, r)` with the left singular vectors and singular values of the update: `s B R^T`, `A^T = Q R`."""
    return factor.scaling * factor.b @ torch.linalg.qr(factor.a.T).R.T


def _project(factor: LowRank, basis: Tensor, bound: float) -> None:
    b = factor.b.data
    b -= basis @ (basis.T @ b)
    norm = float(torch.linalg.matrix_norm(_in_output_space(factor), 2))
    if norm > bound:
        b *= bound / norm
