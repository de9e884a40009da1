"""Many candidates in one batch: per-row coefficients."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from mva.composition.base import Composition
from mva.composition.log_probs import LogProbs
from mva.models.backbone import Backbone
from mva.models.coefficient_lora import CoefficientLora
from mva.models.value_vector import ValueVector
from mva.policies.base import Member


class PerRow:
    """Rows of one batch may have different coefficients; exact for linear composition."""

    mixed_rows = True

    def __init__(self, lora: CoefficientLora) -> None:
        self._lora = lora
        self.values = lora.values

    def rows(self, coefficients: Tensor) -> AbstractContextManager[PreTrainedModel]:
        """Gate every row with its own coefficients. Shape: `(rows, n_values)`."""
        return self._lora.rows(coefficients)

    def members(self, coefficients: tuple[float, ...]) -> list[Member]:
        """Take one row a response."""
        return [Member(1.0, coefficients)]


@dataclass(frozen=True)
class PerRowPolicy:
    """`policy=per_row`."""

    def check(self, composition: Composition) -> None:
        """Refuse a composition that is not linear: rows could not share one set of factors.

        Raises:
            ValueError: For such a composition.
        """
        if not composition.linear:
            fitting_policy = "mixture" if composition.name == LogProbs.name else "merged"
            raise ValueError(
                f"policy=per_row needs a linear composition, not '{composition.name}': choose policy={fitting_policy}."
            )

    def build(self, backbone: Backbone, vectors: Sequence[ValueVector], composition: Composition) -> PerRow:
        """Load all vectors side by side (see `check`)."""
        self.check(composition)
        return PerRow(CoefficientLora(backbone, vectors))
