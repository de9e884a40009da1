"""Policies are mixed, not vectors (MOD, arXiv 2406.18853)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mva.models.value_vector import ValueVector


@dataclass(frozen=True)
class LogProbs:
    """What candidates of `policy=mixture` are called; there is no vector that speaks as they do."""

    name: ClassVar[str] = "log_probs"
    linear: ClassVar[bool] = False

    def compose(self, vectors: Sequence[ValueVector], coefficients: Mapping[str, float]) -> ValueVector:
        """Refuse.

        Raises:
            ValueError: Always: a mixture of next-token distributions is no single model.
        """
        raise ValueError(
            "A candidate of mixed log-probs is several models at once, no single vector: choose another composition "
            "(composition=linear), or keep the vectors of adapters/ and mix them while decoding."
        )
