"""What compositions share: the modules, dense updates, and the vector made of what became of them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mva.models.value_vector import LowRank, ValueVector


def modules_of(vectors: Sequence[ValueVector]) -> list[str]:
    """List the modules that any of the vectors adapts."""
    return sorted({module for vector in vectors for module in vector.factors})


def full_rank(update: Tensor) -> LowRank:
    """Keep a dense update exactly, as factors of full rank: the smaller side is the identity.

    Shape: `(d_out, d_in)`; the rank is `min(d_out, d_in)`. Cut it to a lower one with `mva.models.merge.truncate`.
    """
    d_out, d_in = update.shape
    identity = torch.eye(min(d_out, d_in), dtype=update.dtype, device=update.device)
    return LowRank(update, identity, 1.0) if d_out <= d_in else LowRank(identity, update, 1.0)


def composed(
    vectors: Sequence[ValueVector], coefficients: Mapping[str, float], factors: Mapping[str, LowRank], *, name: str
) -> ValueVector:
    """Make the candidate's vector of its factors; it remembers its coefficients and the composition's name."""
    first, *others = (vector.metadata for vector in vectors)
    shared = {
        key: entry for key, entry in first.items() if all(key in other and other[key] == entry for other in others)
    }
    metadata = {
        **shared,
        "fan_in_fan_out": any(bool(vector.metadata.get("fan_in_fan_out")) for vector in vectors),
        "coefficients": {v.value: coefficients[v.value] for v in vectors},
        "composition": name,
    }
    return ValueVector("+".join(v.value for v in vectors), factors, vectors[0].base, metadata=metadata)
