"""Content hashes of tensors."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def tensors_fingerprint(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Hash named tensors by name, shape, dtype and bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype};".encode())
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
