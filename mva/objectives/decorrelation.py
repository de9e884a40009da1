"""The decorrelation penalty (arXiv 2511.17579, Sec. 4.1).

For the vector of value i:

    penalty = strength * sum_{j<i} sum_m max(0, D_m(theta_i, theta_j)),   D_m the estimate for module m

Estimators that are 0 at independence on average may fall below it. Such an estimate means that no dependence was found:
it is reported as it is, but not rewarded. (Rewarded, it is driven to its minimum: vectors whose rows avoid each other.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from mva.checks import NotNegative, check
from mva.estimators.activations import Activations
from mva.estimators.base import Estimator, View, check_view
from mva.estimators.samples import FrozenSamples, freeze, paired
from mva.fingerprint import kind
from mva.models.value_vector import LowRank


@kind("mva.objectives.decorrelation.Decorrelation")
@dataclass(frozen=True)
class Decorrelation:
    """Penalise a vector's dependence on the vectors that were trained before it.

    Without a `view` (or with None) it is the estimator's default view, so that both spellings are the same
    specification. `strength` is the paper's alpha.
    """

    estimator: Estimator[Any]
    view: View[Any] = None  # type: ignore[assignment]  # None is settled at once, below: readers need not ask
    strength: NotNegative = 10.0

    def __post_init__(self) -> None:
        """Settle the view, and refuse settings that are not as annotated.

        Raises:
            BadSetting: For the first of these.
            IncompatibleView: If the estimator can't take the view.
        """
        object.__setattr__(self, "view", self.view or self.estimator.default_view)
        check(self)
        check_view(self.estimator, self.view)

    def acts_on(self, earlier: Sequence[Mapping[str, LowRank]]) -> bool:
        """Say whether there is anything to penalise: with strength 0 or no earlier vector there isn't."""
        return self.strength != 0 and len(earlier) > 0

    def on(self, inputs: Mapping[str, Tensor]) -> Self:
        """Give the view the modules' inputs where it needs some (see `Activations`)."""
        return replace(self, view=self.view.on(inputs)) if isinstance(self.view, Activations) else self

    def __call__(
        self, current: Mapping[str, LowRank], earlier: Sequence[Mapping[str, LowRank]]
    ) -> tuple[Tensor, Tensor]:
        """Return `(penalty, dependence)`, the dependence detached. Shape: `()` each.

        Where the penalty can't act both are exactly zero and nothing is computed: a zero dependence then
        means that it was not measured (see `acts_on`).
        """
        return self.against(self.freeze(current, earlier), current)

    def freeze(self, current: Mapping[str, LowRank], earlier: Sequence[Mapping[str, LowRank]]) -> list[FrozenSamples]:
        """Look at the earlier vectors once for many calls of `against`; nothing, where the penalty can't act."""
        return freeze(self.view, current, earlier) if self.acts_on(earlier) else []

    def against(self, earlier: Sequence[FrozenSamples], current: Mapping[str, LowRank]) -> tuple[Tensor, Tensor]:
        """Return `(penalty, dependence)` as a call does, of earlier vectors that were looked at before."""
        found = [self.estimator(x, y) for x, y in paired(self.view, current, earlier)]
        estimates = torch.cat(found) if found else torch.zeros(1)
        return self.strength * estimates.clamp(min=0).sum(), estimates.detach().sum()

    def penalty(self, current: Mapping[str, LowRank], earlier: Sequence[Mapping[str, LowRank]]) -> Tensor:
        """Return the penalty alone. Shape: `()`."""
        return self(current, earlier)[0]
