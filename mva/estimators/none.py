"""No dependence at all: training without decorrelation."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mva.estimators.base import View
from mva.estimators.samples import FactorRows, LowRankStack
from mva.fingerprint import kind


@kind("mva.estimators.none.NoDependence")
@dataclass(frozen=True)
class NoDependence:
    """Zero for every module, with zero gradient, whatever the samples; takes every view."""

    views: ClassVar[frozenset[str]] = frozenset({"factor_rows", "update", "update_rows", "activations"})
    default_view: ClassVar[View[Tensor]] = FactorRows("A")
    invariances: ClassVar[frozenset[str]] = frozenset({"scale", "refactoring"})

    def __call__(self, x: Tensor | LowRankStack, y: Tensor | LowRankStack) -> Tensor:
        """Return zeros that stay part of the graph. Shape: `(modules,)`."""
        sample = x.a if isinstance(x, LowRankStack) else x
        return 0.0 * sample.sum(dim=(-2, -1))
