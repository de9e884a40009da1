"""A pass over many batches that a kill does not undo: finished batches are written every few seconds.

A part's address is that of the pass and the batches that it holds, `parts/<pass>/<first>-<end>`, so that a part is a
function of its address, however fast the machine was that wrote it. A pass shorter than `EVERY` writes nothing.
"""

import math
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mva.models.disk import DiskTrouble
from mva.models.store import Store
from mva.stages import Advance

EVERY = 20.0  # seconds of work that a kill may undo, beside the batch under way
PARTS = "parts"
_FILE = "rows.safetensors"


@dataclass(frozen=True)
class LongPass:
    """The pass `key`: it names all that the rows depend on, how they are batched included."""

    store: Store
    key: str

    def rows(self, n_batches: int, compute: Callable[[int], Tensor], *, advance: Advance) -> Tensor:
        """Compute batch after batch, going on behind those that an interrupted pass left.

        Args:
            n_batches: At least 1.
            compute: Gives a batch's rows, finite, on the CPU.
            advance: Is called with the number of rows that are there.

        Returns:
            All rows, in the order of the batches.
        """
        parts, first = self._stored(advance)
        fresh: list[Tensor] = []
        since = time.monotonic()
        for batch in range(first, n_batches):
            fresh.append(compute(batch))
            advance(len(fresh[-1]))
            if time.monotonic() - since >= EVERY and batch + 1 < n_batches:
                parts.append(torch.cat(fresh))
                written = self._write(parts[-1], first, batch + 1)
                first, fresh, since = batch + 1, [], time.monotonic() if written else math.inf
        return torch.cat([*parts, *fresh])

    def drop(self) -> None:
        """Remove the parts: the whole is stored."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        return self.store.root / PARTS / self.key

    def _stored(self, advance: Advance) -> tuple[list[Tensor], int]:
        """Read the parts from the beginning up to the first gap; returns them and the batch that is missing."""
        parts: list[Tensor] = []
        first = 0
        while (part := self._from(first)) is not None:
            rows, first = part
            parts.append(rows)
            advance(len(rows))
        return parts, first

    def _from(self, first: int) -> tuple[Tensor, int] | None:
        for path in self._folder.glob(f"{first}-*"):
            folder = self.store.get(f"{PARTS}/{self.key}", path.name)
            end = path.name.partition("-")[2]
            if folder is None or not end.isdecimal() or int(end) <= first:
                continue
            try:
                return load_file(folder / _FILE)["rows"], int(end)
            except (OSError, SafetensorError, KeyError):  # somebody has removed it meanwhile
                continue
        return None

    def _write(self, rows: Tensor, first: int, end: int) -> bool:
        """Write a part, if the disk allows."""

        def write(folder: Path) -> None:
            save_file({"rows": rows.contiguous()}, folder / _FILE)

        try:
            self.store.put(f"{PARTS}/{self.key}", f"{first}-{end}", write)
        except DiskTrouble as error:  # the pass itself needs no disk
            warnings.warn(f"A kill would undo this pass from batch {first} on: {error}", stacklevel=3)
            return False
        return True
