"""Policies: a backbone that speaks with a candidate's coefficients."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedModel

from mva.composition.base import Composition
from mva.models.backbone import Backbone
from mva.models.value_vector import ValueVector


@dataclass(frozen=True)
class Member:
    """One of the policies whose next-token log-probs make up a response: its weight, and its row's coefficients."""

    weight: float
    coefficients: tuple[float, ...]


class Policy(Protocol):
    """`pi(omega)`, row by row; most take one row a response, a mixture several."""

    values: tuple[str, ...]
    mixed_rows: bool

    def rows(self, coefficients: Tensor) -> AbstractContextManager[PreTrainedModel]:
        """Inside the `with`, row i of a batch is answered by `pi(coefficients[i])`. Shape: `(rows, n_values)`.

        `(1, tokens, n_values)` gives every token of one row its own coefficients.

        Where `mixed_rows` is false all rows must be equal.
        """
        ...

    def members(self, coefficients: tuple[float, ...]) -> Sequence[Member]:
        """List the rows that a response with these coefficients takes: one with weight 1, unless it is a mixture."""
        ...


class PolicySpec(Protocol):
    """The configured form of a policy: plain settings, no model yet."""

    def check(self, composition: Composition) -> None:
        """Check, before anything is loaded, that the policy can speak with vectors so composed.

        Raises:
            ValueError: If it can't.
        """
        ...

    def build(self, backbone: Backbone, vectors: Sequence[ValueVector], composition: Composition) -> Policy:
        """Make the policy of these vectors."""
        ...
