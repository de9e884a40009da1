"""FlexAttention over packed rows (arXiv 2412.05496): a single kernel a layer in place of a call for every text.

Who sees whom is a rule on two places of the row, from which torch makes a table of the blocks that are not empty:

    sees(q, k) = k <= q  and  same pair  and  (k in the prompt  or  same response)

The kernel is compiled, for GPUs; on CPUs torch has a forward pass alone, which the tests hold against the other way.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.utils.weak import WeakTensorKeyDictionary

_masks: Any = WeakTensorKeyDictionary()  # by the table of lengths: all layers read the same one


def flex_attend(
    query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, *, scale: float | None, softcap: float | None
) -> Tensor:
    """Attend from every text of a row to what it sees.

    Shape: queries `(1, heads, length, d)`, keys and values `(1, fewer heads, length, d)`, `lengths` as in
    `data/packing.py`; the result is `(1, length, heads, d)`.
    """
    if lengths not in _masks:
        _masks[lengths] = _block_mask(lengths, query.device)
    attend: Any = _compiled() if query.device.type == "cuda" else flex_attention
    attended: Tensor = attend(
        query,
        key,
        value,
        score_mod=None if softcap is None else _cap(softcap),
        block_mask=_masks[lengths],
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return attended.transpose(1, 2)


@cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention, dynamic=True)


@cache
def _cap(softcap: float) -> Callable[..., Tensor]:
    def capped(score: Tensor, *_places: Tensor) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    return capped


def _block_mask(lengths: Tensor, device: torch.device) -> BlockMask:
    sizes = lengths[0, 0].long()
    n_pairs, n_texts = sizes.shape
    pair = torch.arange(n_pairs).repeat_interleave(sizes.sum(dim=1)).to(device)
    text = torch.arange(n_texts).repeat(n_pairs).repeat_interleave(sizes.flatten()).to(device)

    def sees(_row: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (pair[q] == pair[k]) & ((text[k] == 0) | (text[q] == text[k]))

    return create_block_mask(sees, None, None, len(pair), len(pair), device=str(device))
