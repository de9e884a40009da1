"""One candidate at a time: its composed vector merged into the weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from mva.composition.base import Composition
from mva.composition.log_probs import LogProbs
from mva.models.backbone import Backbone
from mva.models.merge import merged
from mva.models.value_vector import ValueVector
from mva.policies.base import Member


@dataclass(frozen=True)
class Merged:
    """For compositions that are not linear: every row of a batch has the same coefficients."""

    backbone: Backbone
    vectors: Sequence[ValueVector]
    composition: Composition
    mixed_rows: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        """The values, in the order of the coefficients' columns."""
        return tuple(vector.value for vector in self.vectors)

    @contextmanager
    def rows(self, coefficients: Tensor) -> Iterator[PreTrainedModel]:
        """Swap the composed weights in. Shape: `(rows, n_values)`.

        Raises:
            ValueError: If the rows differ.
        """
        if not (coefficients == coefficients[:1]).all():
            raise ValueError("policy=merged answers one candidate at a time: all rows must have the same coefficients.")
        omega = dict(zip(self.values, coefficients[0].tolist(), strict=True))
        with merged(self.backbone, self.composition.compose(self.vectors, omega)) as model:
            yield model

    def members(self, coefficients: tuple[float, ...]) -> list[Member]:
        """Take one row a response."""
        return [Member(1.0, coefficients)]


@dataclass(frozen=True)
class MergedPolicy:
    """`policy=merged`."""

    def check(self, composition: Composition) -> None:
        """Refuse mixed log-probs: there is no vector to merge.

        Raises:
            ValueError: For the composition `log_probs`.
        """
        if composition.name == LogProbs.name:
            raise ValueError(
                "policy=merged needs one vector, and composition=log_probs has none: choose policy=mixture."
            )

    def build(self, backbone: Backbone, vectors: Sequence[ValueVector], composition: Composition) -> Merged:
        """Keep the vectors; weights are merged when a candidate is asked."""
        self.check(composition)
        return Merged(backbone, vectors, composition)
