"""A cache of keys and values with a slot for each text, and the two passes that use it.

    prefill     prompts, one after the other in one row (see `models/attention.py`), fill a slot each: no padding
    step        one token for each of the first `n` slots, each at its own position

Texts of any length stand side by side, and a slot is free for the next text as soon as its text ends. Keys are written
in place, so that a step copies nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from mva.data.packing import in_one_row

_GROWTH = 64  # tokens that a slot grows by at least


class SlotCache(Cache):
    """Keys and values of `n_slots` texts. Shape of each layer's: `(n_slots, heads, capacity, d)`."""

    def __init__(self, n_slots: int, *, capacity: int = _GROWTH) -> None:
        super().__init__(layers=[])
        self.n_slots = n_slots
        self.capacity = capacity
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._slots = torch.empty(0, dtype=torch.long)
        self._positions = torch.empty(0, dtype=torch.long)
        self._entries: Tensor | None = None
        self._length = 0

    def write_at(self, slots: Tensor, positions: Tensor, *, entries: Tensor | None = None, length: int = 0) -> None:
        """Say what the next pass writes where: its token `entries[k]` at `positions[k]` of `slots[k]`.

        Without `entries` every row of the pass has one token. Its queries then read the first `length` tokens of their
        slots; with `entries` they read the keys of the pass alone.
        """
        self._slots, self._positions, self._entries, self._length = slots, positions, entries, length
        needed = int(positions.max()) + 1
        if needed > self.capacity:
            self.capacity = max(needed, self.capacity + max(_GROWTH, self.capacity // 2))

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values, and return those that its queries may read."""
        read = []
        for buffers, states in ((self._keys, key_states), (self._values, value_states)):
            buffer = buffers[layer_idx] = self._roomy(buffers.get(layer_idx), states)
            if self._entries is None:  # a step: (rows, heads, 1, d)
                buffer[self._slots, :, self._positions] = states[:, :, 0]
                read.append(buffer[: states.shape[0], :, : self._length])
            else:  # a prefill: (1, heads, tokens, d)
                buffer[self._slots, :, self._positions] = states[0].transpose(0, 1)[self._entries]
                read.append(states)
        return read[0], read[1]

    def clear(self, slot: int) -> None:
        """Forget a text that is not finite: a masked NaN would still make the next text's attention NaN."""
        for buffers in (self._keys, self._values):
            for buffer in buffers.values():
                buffer[slot] = 0

    def copy(self, source: int, target: int) -> None:
        """Copy a slot's text to another slot."""
        for buffers in (self._keys, self._values):
            for buffer in buffers.values():
                buffer[target] = buffer[source]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Say that nothing is before the tokens given: every pass brings its own positions and mask."""
        return 0

    def _roomy(self, buffer: Tensor | None, states: Tensor) -> Tensor:
        if buffer is not None and buffer.shape[2] >= self.capacity:
            return buffer
        grown = states.new_zeros(self.n_slots, states.shape[1], self.capacity, states.shape[3])
        if buffer is not None:
            grown[:, :, : buffer.shape[2]] = buffer
        return grown


@dataclass(frozen=True)
class Prompts:
    """Prompts with a common beginning, which is read once; each ending belongs to one slot or more."""

    beginning: Sequence[int]
    endings: Sequence[Sequence[int]]
    slots: Sequence[Sequence[int]]

    @property
    def n_tokens(self) -> int:
        """Count the tokens that are read."""
        return len(self.beginning) + sum(map(len, self.endings))


def prefill(model: PreTrainedModel, cache: SlotCache, groups: Sequence[Prompts]) -> Tensor:
    """Read prompts into their slots. Returns the logits behind each ending, `(n_endings, vocabulary)`."""
    ids, positions, lengths = in_one_row([(group.beginning, group.endings) for group in groups])
    source: list[int] = []
    slots: list[int] = []
    last: list[int] = []
    start = 0
    for group in groups:
        beginning = range(start, start + len(group.beginning))
        start = beginning.stop
        for ending, owners in zip(group.endings, group.slots, strict=True):
            tokens = [*beginning, *range(start, start + len(ending))]
            start += len(ending)
            last.append(start - 1)
            for slot in owners:
                source += tokens
                slots += [slot] * len(tokens)
    entries = torch.tensor(source, device=model.device)
    cache.write_at(torch.tensor(slots, device=model.device), positions[0].to(model.device)[entries], entries=entries)
    output = model(
        input_ids=ids.to(model.device),
        position_ids=positions.to(model.device),
        attention_mask=lengths,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=torch.tensor(last, device=model.device),
    )
    logits: Tensor = output.logits[0]
    return logits


def step(model: PreTrainedModel, cache: SlotCache, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Read one more token into each of the first slots, behind `lengths` tokens. Returns logits, `(rows, vocabulary)`.

    Shape: `tokens` and `lengths` are int64 `(rows,)`.
    """
    longest = int(lengths.max()) + 1
    cache.write_at(torch.arange(len(tokens), device=tokens.device), lengths, length=longest)
    hidden = torch.arange(longest, device=tokens.device) > lengths[:, None]
    mask = torch.zeros(hidden.shape, dtype=model.dtype, device=tokens.device)
    mask = mask.masked_fill(hidden, torch.finfo(model.dtype).min)[:, None, None]
    output = model(
        input_ids=tokens[:, None],
        position_ids=lengths[:, None],
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
    )
    logits: Tensor = output.logits[:, -1]
    return logits
