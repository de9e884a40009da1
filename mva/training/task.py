"""What one vector is trained on, and against what: the terms in which plans speak to the fitter."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mva.models.value_vector import ValueVector
from mva.training.constraint import Constraint


@dataclass(frozen=True)
class Task:
    """The training of one vector.

    A value's own vector bears its name and is trained on its pairs. Anything else says more:

    Attributes:
        name: Of the vector.
        earlier: Vectors that it is decorrelated from; they stay frozen.
        preferences: Preference weights by value, which sum to 1: the values' pairs come in these proportions. Without
            any it is the value `name` alone.
        start: A vector that training goes on from; the policy that it makes is the reference policy.
        margins: Vectors of other values with their preference weights: their implicit rewards are the margin of
            MODPO's loss. What they leave of 1 is the weight of the value that is trained on.
        constraint: What the vector is held to after every step.
    """

    name: str
    earlier: tuple[ValueVector, ...] = ()
    preferences: Mapping[str, float] = field(default_factory=dict)
    start: ValueVector | None = None
    margins: tuple[tuple[ValueVector, float], ...] = ()
    constraint: Constraint | None = None

    @property
    def weights(self) -> Mapping[str, float]:
        """Preference weights by value."""
        return self.preferences or {self.name: 1.0}

    @property
    def margin_weight(self) -> float:
        """What the margins leave: MODPO's `w_k`."""
        return 1.0 - sum(weight for _, weight in self.margins)
