"""The batches of a task: whose pairs come when, with which reference log-probs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from mva.data.datamodule import PreferenceDataModule, Rows, StepIndexedBatches, batches_in_order, shuffled_batches
from mva.data.packing import PreferenceBatch
from mva.data.tokenization import TokenizedPair
from mva.data.tokenized import TokenizedValue
from mva.models.backbone import Backbone
from mva.models.log_probs import make_batch, micro_batches
from mva.models.reference import reference_log_probs
from mva.models.store import Store
from mva.models.value_vector import ValueVector
from mva.objectives.modpo import tilted
from mva.seeding import derive_seed
from mva.stages import Advance
from mva.training.preferences import interleave
from mva.training.spec import Recipe
from mva.training.task import Margin, Task

Bar = Callable[[str, int], AbstractContextManager[Advance]]


@dataclass(frozen=True)
class TaskData:
    """Lay out the batches of tasks; `beta` is the unit of rewards, in nats; `tokens` are computed at once.

    Every value has one order of its pairs, whatever the task: a task in which a value counts less sees the beginning of
    what the value's own vector sees, so that methods train on the same pairs and share the reference log-probs.
    """

    backbone: Backbone
    values: Mapping[str, TokenizedValue]
    recipe: Recipe
    beta: float
    _: KW_ONLY
    store: Store
    seed: int
    bar: Bar
    tokens: int

    def module(self, task: Task, *, watched: int | None) -> PreferenceDataModule:
        """Make the batches of training, and of the first `watched` held-out pairs of each value (None: all)."""
        orders = {value: self._order(value) for value in task.weights}
        train = {value: self.values[value].train for value in task.weights}
        held_out = {value: self.values[value].validation[:watched] for value in task.weights}
        everything = {value: range(len(pairs)) for value, pairs in held_out.items()}
        size = sum(len(pairs) for pairs in held_out.values())
        return PreferenceDataModule(
            self._batches(task, train, orders, self._rows(task, train, orders)),
            self._batches(task, held_out, everything, batches_in_order(size, self.recipe.batch_size)),
        )

    def joint_module(self, values: Sequence[str], *, watched: int | None) -> PreferenceDataModule:
        """Make batches that hold a batch of every value: the one that its own training has at that step.

        Where values have fewer pairs than others, and no `steps` are set, they go through them again.
        """
        orders = {value: self._order(value) for value in values}
        train = {value: self.values[value].train for value in values}
        held_out = {value: self.values[value].validation[:watched] for value in values}
        n_steps, size = max(len(order) for order in orders.values()) // self.recipe.batch_size, self.recipe.batch_size
        offsets, rows = _offsets(train), []
        for step in range(n_steps):
            places = range(step * size, (step + 1) * size)
            rows.append([offsets[v] + order[k % len(order)] for v, order in orders.items() for k in places])
        everything = {value: range(len(pairs)) for value, pairs in held_out.items()}
        in_order = batches_in_order(sum(map(len, held_out.values())), self.recipe.batch_size * len(values))
        task = Task("")  # of the reference policy, which is the base
        return PreferenceDataModule(
            self._batches(task, train, orders, rows), self._batches(task, held_out, everything, in_order)
        )

    def _order(self, value: str) -> list[int]:
        """List the pairs that the value's own training meets, in their order."""
        n, seed = len(self.values[value].train), derive_seed(derive_seed(self.seed, "vector", value), "order")
        steps = self.recipe.batches(n)
        return list(chain.from_iterable(shuffled_batches(n, self.recipe.batch_size, n_steps=steps, seed=seed)))

    def _rows(
        self, task: Task, train: Mapping[str, Sequence[TokenizedPair]], orders: Mapping[str, Sequence[int]]
    ) -> list[list[int]]:
        """Name the pairs of every step, counted through the values' pairs one after the other."""
        n_pairs = round(sum(weight * len(train[value]) for value, weight in task.weights.items()))
        n_steps, size = self.recipe.batches(n_pairs), self.recipe.batch_size
        offsets, taken, places = _offsets(train), dict.fromkeys(train, 0), []
        for value in interleave(task.weights, n_steps * size):
            order = orders[value]
            places.append(offsets[value] + order[taken[value] % len(order)])
            taken[value] += 1
        return [places[step * size : (step + 1) * size] for step in range(n_steps)]

    def _batches(
        self, task: Task, pairs: Mapping[str, Sequence[TokenizedPair]], met: Mapping[str, Sequence[int]], rows: Rows
    ) -> StepIndexedBatches:
        """Find the reference log-probs of the pairs that are `met`; the others stay NaN, never asked for."""
        reference = torch.cat([self._reference(task, value, pairs[value], met[value]) for value in pairs])
        owner = torch.arange(len(pairs)).repeat_interleave(torch.tensor([len(some) for some in pairs.values()]))
        return StepIndexedBatches([*chain.from_iterable(pairs.values())], reference, rows, self._layout, owner)

    def _reference(self, task: Task, value: str, pairs: Sequence[TokenizedPair], met: Sequence[int]) -> Tensor:
        used = sorted(set(met))
        some = [pairs[row] for row in used]
        found = self._log_probs(f"Reference log-probs, {value}", some, task.start)
        others = [(self._margin(value, some, margin, found), weight) for margin, weight in task.margins]
        reference = torch.full((len(pairs), 2), torch.nan)
        reference[used] = tilted(found, others)
        return reference

    def _margin(
        self, value: str, pairs: Sequence[TokenizedPair], margin: ValueVector | Margin, reference: Tensor
    ) -> Tensor:
        """Log-probs of the policy whose implicit reward the margin is."""
        if isinstance(margin, ValueVector):
            return self._log_probs(f"Log-probs of {margin.value}, {value}", pairs, margin)
        return reference + margin(pairs).to(reference) / self.beta if pairs else reference

    def _log_probs(self, what: str, pairs: Sequence[TokenizedPair], vector: ValueVector | None) -> Tensor:
        with self.bar(what, len(pairs)) as advance:
            return reference_log_probs(
                self.backbone,
                pairs,
                self.store,
                vector=vector,
                what=f"the {what[0].lower()}{what[1:]}",
                tokens=self.tokens,
                advance=advance,
            )

    def _layout(self, pairs: Sequence[TokenizedPair]) -> list[PreferenceBatch]:
        """Cut the pairs of a step into micro-batches, each of which names the places of its pairs."""
        able, pad_id = self.backbone.capabilities, self.backbone.pad_id
        batches = []
        for places in micro_batches(pairs, tokens=self.tokens, capabilities=able):
            batch = make_batch([pairs[place] for place in places], pad_id=pad_id, capabilities=able)
            batches.append(replace(batch, index=torch.tensor(places)))
        return batches


def _offsets(pairs: Mapping[str, Sequence[TokenizedPair]]) -> dict[str, int]:
    """Where each value's pairs begin."""
    offsets, start = {}, 0
    for value, some in pairs.items():
        offsets[value], start = start, start + len(some)
    return offsets
