"""Snapshots: what a vector was on its way, kept in the store beside the finished vector.

They change nothing about the vector, and are no part of its identity: a snapshot's address is that of its vector, and
the number of batches that it had seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from mva.models.adapter_files import load_adapter, save_adapter
from mva.models.store import Store, key_of
from mva.models.value_vector import ValueVector
from mva.training.stored_vectors import check_finite, read_history

Look = Callable[[], Sequence[ValueVector]]


@dataclass(frozen=True)
class Snapshots:
    """The snapshots after every `every` batches (0 = none), but for the last one: that is the vector itself."""

    store: Store
    every: int

    def complete(self, key: str) -> bool:
        """Say whether the store holds the vector and all its snapshots."""
        return self.store.get("vectors", key) is not None and all(
            self.store.get("snapshots", _address(key, step)) is not None for step in self._steps(key)
        )

    def of(self, vector: ValueVector) -> dict[int, ValueVector]:
        """Return the snapshots of a stored vector by the number of batches, the vector itself as the last one.

        A snapshot's key is its own: what is scored of it is not taken for the vector's.

        Raises:
            ValueError: If the store lacks the vector, or one of its snapshots.
        """
        if not self.complete(vector.key):
            raise ValueError(
                f"The store has no snapshots of '{vector.value}' every {self.every} batches: train it with "
                f"trainer.execution.snapshot_every={self.every}."
            )
        found = {}
        for step in self._steps(vector.key):
            folder = self.store.get("snapshots", _address(vector.key, step))
            assert folder is not None
            found[step] = load_adapter(folder, expect_base=vector.base)
        return {**found, self._n_batches(vector.key): vector}

    def keep(self, vectors: Sequence[ValueVector], step: int) -> None:
        """Put the vectors as they are after `step` batches into the store.

        Raises:
            FloatingPointError: If a vector is not finite.
        """
        for vector in vectors:
            check_finite(vector)
            snapshot = replace(vector, key=_address(vector.key, step))
            self.store.put("snapshots", snapshot.key, partial(save_adapter, snapshot))

    def _steps(self, key: str) -> range:
        return range(self.every, self._n_batches(key), self.every) if self.every else range(0)

    def _n_batches(self, key: str) -> int:
        stored = self.store.get("vectors", key)
        assert stored is not None
        return max(step for step, _ in read_history(stored))


class TakeSnapshots(Callback):
    """Keep what `look` sees after every `snapshots.every` batches.

    It looks as the next batch begins: what others do to a vector at a batch's end (projections) is done by then. A
    resumed training may take its first snapshot again: the store keeps the one it has, which is the same.
    """

    def __init__(self, snapshots: Snapshots, look: Look) -> None:
        self._snapshots, self._look = snapshots, look

    def on_train_batch_start(self, _trainer: Trainer, _module: LightningModule, _batch: Any, batch_idx: int) -> None:
        """Take a snapshot where one is due; `batch_idx` batches are done."""
        every = self._snapshots.every
        if every and batch_idx and batch_idx % every == 0:
            self._snapshots.keep(self._look(), batch_idx)


def _address(key: str, step: int) -> str:
    return key_of({"vector": key, "step": step})
