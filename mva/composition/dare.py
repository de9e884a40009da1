"""DARE on exact updates: drop entries at random, rescale the others, then compose (arXiv 2311.03099)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from mva.checks import Bounds, Seed, check
from mva.composition.base import Composition
from mva.composition.linear import Linear
from mva.composition.updates import full_rank
from mva.models.value_vector import LowRank, ValueVector
from mva.seeding import derive_seed


@dataclass(frozen=True)
class Dare:
    """`theta_i' = m_i * theta_i / (1 - drop)` with `m_i ~ Bernoulli(1 - drop)` entry by entry, then `then`.

    `theta_i = s_i B_i A_i` is dense, so that `E[theta_i'] = theta_i` exactly; the noise that is added has the variance
    `drop / (1 - drop) * theta_i^2`. The coefficients enter with `then`: dropping and scaling commute.
    The masks are a pure function of the seed, the value and the module: the same for every candidate.

    With `Linear` it is the paper's DARE with task arithmetic, with `Ties(density=1)` its DARE with TIES.
    PEFT's `dare_linear` drops entries of A and B apart, whose mean is the average of factors with its cross terms.
    """

    drop: Annotated[float, Bounds(0, 1, below=True)] = 0.5
    seed: Seed = 0
    then: Composition = field(default_factory=Linear)
    linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    @property
    def name(self) -> str:
        """The settings are part of the name: candidates of different masks differ."""
        return f"dare {self.drop:g} seed {self.seed}, {self.then.name}"

    def compose(self, vectors: Sequence[ValueVector], coefficients: Mapping[str, float]) -> ValueVector:
        """Drop and rescale every vector, then compose them."""
        sparse = [replace(v, factors={m: self._sparse(v.value, m, f) for m, f in v.factors.items()}) for v in vectors]
        made = self.then.compose(sparse, coefficients)
        # Full ranks of several vectors add up to more than the update's sides: one matrix holds the same.
        factors = {module: full_rank(factor.update()) for module, factor in made.factors.items()}
        return replace(made, factors=factors, metadata={**made.metadata, "composition": self.name})

    def _sparse(self, value: str, module: str, factor: LowRank) -> LowRank:
        update = factor.update()
        return full_rank(update * self._kept(value, module, update) / (1 - self.drop))

    def _kept(self, value: str, module: str, update: Tensor) -> Tensor:
        # Drawn on the CPU: the same mask whatever the device.
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "dare", value, module))
        return (torch.rand(update.shape, generator=generator) >= self.drop).to(update.device)
