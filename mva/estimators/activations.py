"""The activations that an update causes, as samples: functional dependence instead of dependence of parameters.

    sample_t = s B A x_t,    t = 1 ... tokens

x_t is what the base feeds into the module at token t. Two updates that differ as matrices may do the same to the inputs
that occur, and two that are alike may act on directions that never occur.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from mva.checks import MANY, Bounds, check
from mva.estimators.samples import Update
from mva.fingerprint import kind
from mva.models.value_vector import LowRank


@kind("mva.estimators.activations.Activations")
@dataclass(frozen=True)
class Activations:
    """What an update adds to its module's output at `tokens` tokens of training responses.

    This is the configured form; `on` gives the view its inputs. Both vectors see the same tokens, which alone makes
    their activations alike: what independent vectors give is well above 0, so look at the chance level.
    """

    tokens: Annotated[int, Bounds(4, MANY)] = 64

    name: ClassVar[str] = "activations"
    invariances: ClassVar[frozenset[str]] = frozenset({"refactoring"})

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def __call__(self, _factors: Sequence[LowRank], _modules: Sequence[str] = ()) -> Tensor:
        """Refuse: without inputs there are no activations.

        Raises:
            ValueError: Always.
        """
        raise ValueError("The view 'activations' needs the modules' inputs: give it them by Activations.on(inputs).")

    def on(self, inputs: Mapping[str, Tensor]) -> "ActivationsOnInputs":
        """Look at updates through these inputs, by module. Shape: `(tokens, d_in)` each."""
        return ActivationsOnInputs(inputs)


class ActivationsOnInputs:
    """The living form of `Activations`."""

    name: ClassVar[str] = Activations.name
    invariances: ClassVar[frozenset[str]] = Activations.invariances

    def __init__(self, inputs: Mapping[str, Tensor]) -> None:
        self._inputs = inputs

    def __call__(self, factors: Sequence[LowRank], modules: Sequence[str] = ()) -> Tensor:
        """Stack the activations of modules with these names. Shape: `(modules, tokens, d_out)`."""
        stack = Update()(factors)
        x = torch.stack([self._inputs[name].to(stack.a) for name in modules])
        return (x @ stack.a.mT) @ (stack.scaling[:, None, None] * stack.b).mT
