"""All value vectors at once, with coefficients per row of the batch.

The vectors' factors are concatenated to one LoRA of rank `R = sum_i r_i`; the low-rank activation is multiplied by
a gate that holds each row's coefficients:

    h = W_0 x + B ( g(omega_row) * (A x) ),   A = [A_1; ...; A_n],   B = [s_1 B_1, ..., s_n B_n]

so that one forward pass serves rows with different coefficients, at a cost that does not depend on how many.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mva.models.backbone import Backbone
from mva.models.blocks import hung_on
from mva.models.keyed_dropout import Dropout
from mva.models.value_vector import LowRank, ValueVector


class CoefficientLora:
    """`pi(omega)` for a different `omega` in every row; outside of `rows` the backbone is exactly the base.

    Raises:
        ValueError: If a vector was trained on another backbone, or names a module that the backbone lacks.
    """

    def __init__(self, backbone: Backbone, vectors: Sequence[ValueVector]) -> None:
        for vector in vectors:
            if vector.base != backbone.fingerprint:
                raise ValueError(f"The vector '{vector.value}' was trained on another backbone than {backbone.name}.")
        self.model: PreTrainedModel = backbone.model
        self.values = tuple(vector.value for vector in vectors)
        place = {"device": self.model.device, "dtype": self.model.dtype}
        self._stacked = [
            replace(one, a=one.a.to(**place), b=one.b.to(**place))
            for one in stack(self.model, [vector.factors for vector in vectors])
        ]

    @contextmanager
    def rows(self, coefficients: Tensor) -> Iterator[PreTrainedModel]:
        """Give row i of every batch inside the `with` the coefficients `coefficients[i]`.

        Shape: `coefficients` is `(rows, n_values)`, in the order of `values`; `(1, tokens, n_values)` gives every
        token of one row its own.
        """
        if coefficients.ndim not in (2, 3) or coefficients.shape[-1] != len(self.values):
            raise ValueError(f"Coefficients of shape {tuple(coefficients.shape)} do not fit {len(self.values)} values.")
        with gated(self._stacked, coefficients.to(self.model.device)):
            yield self.model


@dataclass(frozen=True)
class Stacked:
    """What several vectors add to one module: A `(R, d_in)`, scaled B `(d_out, R)`, the vector of each of R ranks."""

    name: str
    module: nn.Module
    a: Tensor
    b: Tensor
    owner: Tensor


def stack(model: nn.Module, vectors: Sequence[Mapping[str, LowRank]]) -> list[Stacked]:
    """Concatenate the vectors' factors, module by module; gradients reach the factors.

    Raises:
        ValueError: If a vector names a module that the model lacks.
    """
    modules = dict(model.named_modules())
    names = sorted({name for factors in vectors for name in factors})
    if missing := [name for name in names if name not in modules]:
        raise ValueError(f"The model has no module {missing[0]}, which a vector adapts.")
    return [
        _concatenate(name, modules[name], [(i, factors[name]) for i, factors in enumerate(vectors) if name in factors])
        for name in names
    ]


@contextmanager
def gated(stacked: Sequence[Stacked], coefficients: Tensor, *, dropout: Dropout | None = None) -> Iterator[None]:
    """Add each row's own combination of the vectors inside the `with`, or each token's.

    Shape: `coefficients` is `(rows, n_vectors)` or `(rows, length, n_vectors)`; of length 1 it is for all tokens.
    `dropout` acts on what the vectors read, as in training.
    """
    with hung_on(lambda: _hooked(stacked, coefficients, dropout)):
        yield


@contextmanager
def _hooked(stacked: Sequence[Stacked], coefficients: Tensor, dropout: Dropout | None) -> Iterator[None]:
    hooks = [one.module.register_forward_hook(_gated(one, coefficients, dropout)) for one in stacked]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _concatenate(name: str, module: nn.Module, present: Sequence[tuple[int, LowRank]]) -> Stacked:
    owner = torch.tensor([i for i, factor in present for _ in range(factor.a.shape[0])])
    return Stacked(
        name,
        module,
        a=torch.cat([factor.a for _, factor in present]),
        b=torch.cat([factor.scaling * factor.b for _, factor in present], dim=1),
        owner=owner.to(next(module.parameters()).device),
    )


def _gated(
    one: Stacked, coefficients: Tensor, dropout: Dropout | None
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    by_token = coefficients if coefficients.ndim == 3 else coefficients[:, None]
    gate = by_token[..., one.owner]

    def add_update(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0] if dropout is None else dropout(inputs[0], one.name)
        if x.ndim == 2:  # some architectures flatten (rows, length) before a projection
            x = x.view(gate.shape[0], -1, x.shape[-1])
        # Computed in the base's precision, whatever the factors' own.
        update = nn.functional.linear(nn.functional.linear(x, one.a.to(x)) * gate.to(x), one.b.to(x))
        return output + update.view(output.shape).to(output.dtype)

    return add_update
