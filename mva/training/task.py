"""What one vector is trained on, and against what: the terms in which plans speak to the fitter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from mva.data.tokenization import TokenizedPair
from mva.models.value_vector import ValueVector
from mva.training.constraint import Constraint


class Margin(Protocol):
    """The reward of another value, as the margin of a loss."""

    @property
    def key(self) -> str:
        """Name everything that the rewards depend on."""
        ...

    def __call__(self, pairs: Sequence[TokenizedPair]) -> Tensor:
        """Reward both responses of every pair. Shape: `(n, 2)`, of the chosen and of the rejected ones."""
        ...


def no_margin(value: str) -> Margin:
    """Know no reward.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"There is no reward of '{value}' to be a margin.")


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
        margins: Other values' vectors (whose implicit rewards count) or rewards, with their preference weights: the
            margin of MODPO's loss. What they leave of 1 is the weight of the value that is trained on.
        constraint: What the vector is held to after every step.
    """

    name: str
    earlier: tuple[ValueVector, ...] = ()
    preferences: Mapping[str, float] = field(default_factory=dict)
    start: ValueVector | None = None
    margins: tuple[tuple[ValueVector | Margin, float], ...] = ()
    constraint: Constraint | None = None

    @property
    def weights(self) -> Mapping[str, float]:
        """Preference weights by value."""
        return self.preferences or {self.name: 1.0}

    @property
    def margin_weight(self) -> float:
        """What the margins leave: MODPO's `w_k`."""
        return 1.0 - sum(weight for _, weight in self.margins)
