"""A cache of keys and values with a slot for each text, and the two passes that use it.

    prefill     prompts, one after the other in one row (see `models/attention.py`), fill a slot each: no padding
    step        one token for each of the first `n` slots, each at its own position

Texts of any length stand side by side, and a slot is free for the next text as soon as its text ends. Keys are written
in place, so that a step copies nothing.
"""

from collections.abc import Sequence
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
        self._length = 0

    def write_at(self, slots: Tensor, positions: Tensor, *, length: int) -> None:
        """Say where the next pass writes: token k at `positions[k]` of `slots[k]`.

        `length` is what the pass reads of a slot; 0 where it reads its own keys alone.
        """
        self._slots, self._positions, self._length = slots, positions, length
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
            # (1, heads, tokens, d) of a prefill, (rows, heads, 1, d) of a step: either way one entry a token.
            entries = states[0].transpose(0, 1) if self._length == 0 else states[:, :, 0]
            buffer[self._slots, :, self._positions] = entries
            read.append(states if self._length == 0 else buffer[: states.shape[0], :, : self._length])
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


def prefill(model: PreTrainedModel, cache: SlotCache, prompts: Sequence[Sequence[int]], slots: Sequence[int]) -> Tensor:
    """Read prompts into their slots. Returns the logits behind each prompt, `(n, vocabulary)`."""
    ids, positions, lengths = in_one_row([(prompt, ((),)) for prompt in prompts])
    device = model.device
    sizes = torch.tensor([len(prompt) for prompt in prompts])
    owners = torch.tensor(list(slots)).repeat_interleave(sizes)
    cache.write_at(owners.to(device), positions[0].to(device), length=0)
    output = model(
        input_ids=ids.to(device),
        position_ids=positions.to(device),
        attention_mask=lengths,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=(sizes.cumsum(0) - 1).to(device),
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
