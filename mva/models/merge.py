"""A vector's other forms: merged into the weights, or cut to a lower rank."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from mva.models.backbone import Backbone
from mva.models.quantization import check_mergeable
from mva.models.value_vector import LowRank, ValueVector


@contextmanager
def merged(backbone: Backbone, vector: ValueVector) -> Iterator[PreTrainedModel]:
    """Merge the vector into the backbone's weights inside the `with`; afterwards they are bit for bit as before.

    Raises:
        NotExact: If the weights are quantised.
    """
    check_mergeable(backbone.model)
    modules = dict(backbone.model.named_modules())
    originals: list[tuple[nn.Parameter, Tensor]] = []
    try:
        for name, factor in vector.factors.items():
            weight = modules[name].weight
            originals.append((weight, weight.data))
            weight.data = weight.data + _oriented(factor, modules[name]).to(weight)
        yield backbone.model
    finally:
        for weight, original in originals:
            weight.data = original


def merged_copy(backbone: Backbone, vector: ValueVector) -> PreTrainedModel:
    """Return a copy of the backbone with the vector merged in."""
    with merged(backbone, vector) as model:
        return copy.deepcopy(model)


def rounding_error(backbone: Backbone, vector: ValueVector) -> float:
    """Say what merging loses to the weights' precision: `||round(W + U) - W - U||_F / ||U||_F` over all modules.

    An update is small beside its weights: in bfloat16, whose step is 1/256 of a weight, a good part of it may fall
    between two steps. In float32 it is about 1e-5.
    """
    check_mergeable(backbone.model)
    modules, lost, total = dict(backbone.model.named_modules()), 0.0, 0.0
    for name, factor in vector.factors.items():
        weight, update = modules[name].weight.data, _oriented(factor, modules[name]).double()
        kept = (weight + update.to(weight)).double() - weight.double()
        lost, total = lost + float((kept - update).square().sum()), total + float(update.square().sum())
    return (lost / total) ** 0.5 if total else 0.0


def truncate(vector: ValueVector, rank: int) -> tuple[ValueVector, float]:
    """Cut every module's update to `rank` by SVD (the best approximation in Frobenius norm, Eckart-Young).

    The update is never formed: `B A = Q_b (R_b R_a^T) Q_a^T` by QR of the factors, then the SVD of the small core.

    Returns:
        The truncated vector and its relative error `||update - truncated||_F / ||update||_F`.
    """
    factors, lost, total = {}, 0.0, 0.0
    for name, factor in vector.factors.items():
        q_b, r_b = torch.linalg.qr(factor.b.double())
        q_a, r_a = torch.linalg.qr(factor.a.double().T)
        u, s, vh = torch.linalg.svd(factor.scaling * r_b @ r_a.T, full_matrices=False)
        root = s[:rank].sqrt()
        a, b = (root[:, None] * vh[:rank]) @ q_a.T, q_b @ (u[:, :rank] * root)
        factors[name] = LowRank(a.to(factor.a.dtype), b.to(factor.b.dtype), 1.0)
        lost, total = lost + float(s[rank:].square().sum()), total + float(s.square().sum())
    return ValueVector(vector.value, factors, vector.base, "", vector.metadata), (lost / total) ** 0.5 if total else 0.0


def _oriented(factor: LowRank, module: nn.Module) -> Tensor:
    return factor.update().T if isinstance(module, Conv1D) else factor.update()
