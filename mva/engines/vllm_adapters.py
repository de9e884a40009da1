"""Candidates as LoRA adapters on disk, in the form in which vLLM reads them."""

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from mva.composition.linear import Linear
from mva.composition.updates import modules_of
from mva.engines.base import EngineFailure
from mva.models.adapter_files import save_adapter
from mva.models.value_vector import LowRank, ValueVector

Rank = Literal[1, 8, 16, 32, 64, 128, 256, 320, 512]  # what vLLM takes for --max-lora-rank
RANKS: tuple[int, ...] = get_args(Rank)


class NotFiniteFactors(ValueError):
    """A candidate whose factors are beyond the range of the base's dtype."""


def served_rank(vectors: Sequence[ValueVector]) -> int:
    """Round the rank of a combination of the vectors up to one that vLLM takes.

    Raises:
        EngineFailure: If it takes none so large.
    """
    rank = max(
        sum(vector.factors[module].a.shape[0] for vector in vectors if module in vector.factors)
        for module in modules_of(vectors)
    )
    if rank > RANKS[-1]:
        raise EngineFailure(
            f"The vectors have the rank {rank} together, and vLLM takes at most {RANKS[-1]}: train them with a lower "
            f"adapter.rank, or choose engine=hf."
        )
    return next(taken for taken in RANKS if taken >= rank)


@dataclass(frozen=True)
class Adapter:
    """What a server is asked to speak with: its name there, and where it comes from."""

    name: str
    coefficients: tuple[float, ...]
    files: "AdapterFiles"


class AdapterFiles:
    """The adapters of one set of vectors, each in a folder for as long as servers hold it.

    Names are used once: servers keep prompts that they have read under the adapter's name.
    """

    def __init__(self, vectors: Sequence[ValueVector], folder: Path, *, name: str, dtype: torch.dtype) -> None:
        self.vectors, self.rank = tuple(vectors), served_rank(vectors)
        self._folder, self._name, self._dtype = folder, name, dtype
        self._adapters: dict[tuple[float, ...], Adapter] = {}
        self._holders: dict[str, int] = {}
        self._lock = threading.Lock()

    def adapter_of(self, coefficients: tuple[float, ...]) -> Adapter:
        """Say what speaks with these coefficients: one adapter, also with zeros.

        This is the one place that decides so. No server takes a sum of adapters in a request; when one does, this
        returns an adapter for each value, with its coefficient. The base is an adapter of zeros, as vLLM 0.32 on a CPU
        adds the adapter in its last slot to requests that name none.
        """
        name = f"{self._name}-{len(self._adapters)}"
        return self._adapters.setdefault(coefficients, Adapter(name, coefficients, self))

    def acquire(self, adapter: Adapter) -> Path:
        """Write an adapter, unless it is there; its folder stays until `release` was called as often.

        Raises:
            NotFiniteFactors: If its factors are not finite.
        """
        folder = self._folder / adapter.name
        with self._lock:
            if not self._holders.get(adapter.name):
                save_adapter(self._vector(adapter.coefficients), folder)
            self._holders[adapter.name] = self._holders.get(adapter.name, 0) + 1
        return folder

    def release(self, adapter: Adapter) -> None:
        """Remove an adapter that no server holds any more."""
        with self._lock:
            self._holders[adapter.name] -= 1
            if not self._holders[adapter.name]:
                shutil.rmtree(self._folder / adapter.name, ignore_errors=True)

    def _vector(self, coefficients: tuple[float, ...]) -> ValueVector:
        by_value = {vector.value: omega for vector, omega in zip(self.vectors, coefficients, strict=True)}
        whole = Linear().compose(self.vectors, by_value)
        factors = {
            module: LowRank(self._padded(factor.a, 0), self._padded(factor.b, 1), factor.scaling)
            for module, factor in whole.factors.items()
        }
        if not all(torch.isfinite(factor.b).all() for factor in factors.values()):
            raise NotFiniteFactors("the coefficients are too large for the base's dtype")
        return replace(whole, factors=factors)

    def _padded(self, factor: Tensor, dim: int) -> Tensor:
        """Add rows of A, or columns of B, that are zero: all modules then have one rank, and no pattern is needed."""
        shape = list(factor.shape)
        shape[dim] = self.rank - shape[dim]
        return torch.cat([factor, factor.new_zeros(shape)], dim=dim).to(self._dtype)
