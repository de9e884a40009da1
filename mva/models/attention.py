"""Attention over rows that hold several texts, one after the other.

A packed row comes with a table of lengths in place of a mask (`data/packing.py`): a prompt and the responses to it,
then the next prompt. A response sees its prompt and itself:

    prompt, first response      causal
    every other response        its queries over the keys of (prompt, itself), causal from the lower right corner

so that no mask of the row's length squared is ever made, and nothing is computed that a mask would hide. Batches with
any other mask are the business of the attention that the model came with.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from mva.checks import BadSetting
from mva.models.flex import flex_attend

# On CPUs with bfloat16 products, torch's attention has a slow backward pass in bfloat16 for texts of fewer tokens:
# measured with AVX-512-BF16, 3 times slower than in float32 at 64 tokens, 2.3 at 130, 1.3 at 300, and 0.6 at 1000.
SHORT = 512
_PREFIX = "segments_or_"
Attention = Callable[..., tuple[Tensor, Tensor | None]]
Kind = Literal["auto", "sdpa", "flex", "eager"]


def take_packed_rows(model: PreTrainedModel, kind: Kind = "auto") -> None:
    """Let the model's attention read tables of lengths, where it can; with any other mask it stays as it was.

    `sdpa` and `eager` replace what the model came with; `flex` reads packed rows alone; `auto` changes nothing else.
    But for `flex` packed rows are read text by text. A model that reads them already stays as it is.

    Raises:
        BadSetting: If the architecture does not have the attention that is asked for.
    """
    own = str(model.config._attn_implementation)
    if own.startswith(_PREFIX) or not model._can_set_attn_implementation():
        return
    if kind in ("sdpa", "eager"):
        try:
            model.set_attn_implementation(kind)
        except ValueError as error:
            raise BadSetting("attention", f"is {kind}, which {type(model).__name__} lacks: choose auto.") from error
        own = kind
    name = f"{_PREFIX}{own}_{kind}"
    attention = partial(_attention, ALL_ATTENTION_FUNCTIONS.get(own, _eager), kind)
    ALL_ATTENTION_FUNCTIONS.register(name, attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(name, ALL_MASK_ATTENTION_FUNCTIONS[own])
    model.set_attn_implementation(name)


def _eager(module: nn.Module, *tensors: Tensor | None, **settings: Any) -> tuple[Tensor, Tensor | None]:
    """The attention that an architecture's own file spells out."""
    spelled_out: Attention = sys.modules[type(module).__module__].eager_attention_forward
    return spelled_out(module, *tensors, **settings)


def _attention(
    own: Attention,
    kind: Kind,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, Tensor | None]:
    if attention_mask is None or attention_mask.dtype != torch.int32:
        return own(module, query, key, value, attention_mask, **settings)
    if kind == "flex":
        scale, softcap = settings.get("scaling"), settings.get("softcap")
        return flex_attend(query, key, value, attention_mask, scale=scale, softcap=softcap), None
    shared_by = query.shape[1] // key.shape[1]
    attend = partial(
        _spelled_out if kind == "eager" else _attend,
        scale=settings.get("scaling"),
        dropout=settings.get("dropout", 0.0),
        softcap=settings.get("softcap"),
    )
    tensors = query, repeat_kv(key, shared_by), repeat_kv(value, shared_by)
    return by_segment(attend, tensors, attention_mask[0, 0].tolist()), None


def by_segment(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor],
    tensors: tuple[Tensor, Tensor, Tensor],
    lengths: Sequence[Sequence[int]],
) -> Tensor:
    """Attend from every text of a row to what it sees.

    Shape: queries, keys and values are `(1, heads, length, d)`, the result is `(1, length, heads, d)`.
    """
    outputs: list[Tensor] = []
    start = 0
    for prompt, *responses in lengths:
        answer = start + prompt
        first = slice(start, answer + responses[0])
        outputs.append(attend(*(x[:, :, first] for x in tensors)))
        begin = first.stop
        for size in filter(None, responses[1:]):
            own = slice(begin, begin + size)
            query, key, value = tensors
            seen = (torch.cat([x[:, :, start:answer], x[:, :, own]], dim=2) for x in (key, value))
            outputs.append(attend(query[:, :, own], *seen))
            begin += size
        start = begin
    return torch.cat([output.transpose(1, 2) for output in outputs], dim=1)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float | None, dropout: float, softcap: float | None
) -> Tensor:
    """Attend causally: the last query sees every key."""
    n_queries, n_keys = query.shape[2], key.shape[2]
    if n_keys < SHORT and query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16):
        precise = (x.float() for x in (query, key, value))
        with torch.autocast("cpu", enabled=False):
            return _attend(*precise, scale=scale, dropout=dropout, softcap=softcap).to(query.dtype)
    if softcap is not None:
        return _spelled_out(query, key, value, scale=scale, dropout=dropout, softcap=softcap)
    if n_queries == n_keys:
        return scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True, scale=scale)
    mask = causal_lower_right(n_queries, n_keys)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale)


def _spelled_out(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float | None, dropout: float, softcap: float | None
) -> Tensor:
    """Attend causally without a fused kernel: none caps scores, `softcap * tanh(score / softcap)`."""
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    hidden = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(
        1 + key.shape[2] - query.shape[2]
    )
    # In float32 whatever the precision, as the architectures that cap do.
    weights = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    return nn.functional.dropout(weights, dropout) @ value
