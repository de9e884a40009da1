"""Preference batches for Lightning: one epoch whose item i are the micro-batches of step i.

Item i is a pure function of (seed, i), so that a run resumed at step i sees what the unbroken run saw.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mva.data.packing import PreferenceBatch
from mva.data.tokenization import TokenizedPair

Step = Sequence[PreferenceBatch]
"""The pairs of a step, in micro-batches: their sum is the step, however it is cut."""
Layout = Callable[[Sequence[TokenizedPair]], Step]
Rows = Sequence[Sequence[int]]


def shuffled_batches(n_pairs: int, batch_size: int, *, n_steps: int, seed: int) -> list[list[int]]:
    """Name the pairs of every step: epoch after epoch, each in an order drawn from (seed, epoch).

    Every pair comes once an epoch; a batch may reach over the end of an epoch.
    """
    n_epochs = -(-n_steps * batch_size // n_pairs)
    places = list(chain.from_iterable(_order(n_pairs, epoch, seed) for epoch in range(n_epochs)))
    return [places[step * batch_size : (step + 1) * batch_size] for step in range(n_steps)]


def batches_in_order(n_pairs: int, batch_size: int) -> list[list[int]]:
    """Name the pairs of every batch of one pass in the given order; the last batch may be smaller."""
    return [list(range(start, min(start + batch_size, n_pairs))) for start in range(0, n_pairs, batch_size)]


@dataclass(frozen=True)
class StepIndexedBatches(Dataset[Step]):
    """Item i holds the pairs `rows[i]`, with their reference log-probs and whose they are.

    `layout` makes micro-batches of pairs, whose `index` names places among them.

    Shape: `reference` is `(n, 2)`, `owner` (if there is any) `(n,)`, ascending.
    """

    pairs: Sequence[TokenizedPair]
    reference: Tensor
    rows: Rows
    layout: Layout
    owner: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_pairs(self) -> int:
        """Count the pairs of all steps together."""
        return sum(map(len, self.rows))

    def __getitem__(self, step: int) -> list[PreferenceBatch]:
        """Lay out the pairs of `step`."""
        rows = torch.tensor(self.rows[step])
        return [
            self._with_what_is_known(batch, rows[batch.index])
            for batch in self.layout([self.pairs[row] for row in self.rows[step]])
        ]

    def _with_what_is_known(self, batch: PreferenceBatch, rows: Tensor) -> PreferenceBatch:
        known = replace(batch, index=rows, reference=self.reference[rows])
        if self.owner is None:
            return known
        owner = self.owner[rows]
        return replace(known, index=rows - torch.searchsorted(self.owner, owner), owner=owner)


class ResumableLoader(DataLoader[Step]):
    """A loader that knows how far it is: Lightning keeps its state in the checkpoint and gives it back."""

    def __init__(self, dataset: StepIndexedBatches) -> None:
        self._next = 0
        super().__init__(dataset, batch_size=None, shuffle=False, sampler=_From(self, len(dataset)))

    def state_dict(self) -> dict[str, int]:
        """Return the next step."""
        return {"next": self._next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at the stored step."""
        self._next = state["next"]


class _From:
    def __init__(self, loader: ResumableLoader, total: int) -> None:
        self._loader, self._total = loader, total

    def __iter__(self) -> Iterator[int]:
        while self._loader._next < self._total:
            step = self._loader._next
            self._loader._next += 1
            yield step
        self._loader._next = 0

    def __len__(self) -> int:
        return self._total


class PreferenceDataModule(LightningDataModule):
    """Training and validation batches of one training; their data sets know the layout."""

    def __init__(self, train: StepIndexedBatches, validation: StepIndexedBatches) -> None:
        super().__init__()
        self.train = train
        self.validation = validation

    def train_dataloader(self) -> ResumableLoader:
        """Steps in order, resumable."""
        return ResumableLoader(self.train)

    def val_dataloader(self) -> DataLoader[Step]:
        """Held-out pairs, once, in their own order."""
        return DataLoader(self.validation, batch_size=None, shuffle=False)

    def transfer_batch_to_device(
        self, batch: Step, device: torch.device, _dataloader_idx: int
    ) -> list[PreferenceBatch]:
        """Move a step as a whole."""
        return [micro_batch.to(device) for micro_batch in batch]


def _order(n: int, epoch: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed((seed + 1_000_003 * epoch) % 2**63)
    return torch.randperm(n, generator=generator).tolist()
