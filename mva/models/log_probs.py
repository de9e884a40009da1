"""Log-probs of whole responses, and what an architecture can do to compute them fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from mva.data.packing import PreferenceBatch, cut, pack, pad, row_length
from mva.data.tokenization import TokenizedPair
from mva.models.attention import take_packed_rows
from mva.models.head import log_probs_of, token_log_probs
from mva.models.slots import Prompts, SlotCache, prefill, step


@dataclass(frozen=True)
class Capabilities:
    """What was found by trying: `packed` rows are understood; logits are `head(decoder(x))` and nothing more.

    With `slots` texts of unlike lengths decode side by side (`models/slots.py`).
    `window` is how many tokens back the shortest-sighted layer sees, by the model's config; None for no limit.
    """

    packed: bool
    split_head: bool
    window: int | None = None
    slots: bool = False


def sequence_log_probs(model: nn.Module, batch: PreferenceBatch, *, split_head: bool) -> tuple[Tensor, Tensor]:
    """Sum the log-probs of each response's tokens: `log pi(y | x) = sum_t log pi(y_t | x, y_<t)`.

    With `split_head` the LM head runs only on the positions that predict a response token; the rows' prompts and
    padding never meet the vocabulary, and logits are made a chunk at a time (`models/head.py`). The log-softmax is
    taken in float32 (float64 models keep float64).

    Shape: two tensors `(n,)`, of the chosen and of the rejected responses, in nats.
    """
    inputs = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "position_ids": batch.position_ids,
        "use_cache": False,
    }
    causal_lm: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    where = batch.target_row, batch.target_position
    if split_head:
        hidden = causal_lm.get_decoder()(**inputs).last_hidden_state
        of_tokens = token_log_probs(causal_lm.get_output_embeddings(), hidden[where], batch.target_token)
    else:
        of_tokens = log_probs_of(causal_lm(**inputs).logits[where], batch.target_token)
    sums = of_tokens.new_zeros(2 * len(batch)).index_add(0, batch.target_sequence, of_tokens)
    chosen, rejected = sums.split(len(batch))
    return chosen, rejected


def response_lengths(batch: PreferenceBatch) -> tuple[Tensor, Tensor]:
    """Count each response's tokens: what turns a sum over them into an average.

    Shape: two integer tensors `(n,)`, of the chosen and of the rejected responses.
    """
    lengths = batch.target_sequence.new_zeros(2 * len(batch))
    chosen, rejected = lengths.index_add(0, batch.target_sequence, torch.ones_like(batch.target_sequence)).split(
        len(batch)
    )
    return chosen, rejected


def make_batch(pairs: Sequence[TokenizedPair], *, pad_id: int, capabilities: Capabilities) -> PreferenceBatch:
    """Lay out pairs in the fastest way that the architecture understands."""
    return pack(pairs) if _fit_into_a_row(pairs, capabilities) else pad(pairs, pad_id=pad_id)


def micro_batches(pairs: Sequence[TokenizedPair], *, tokens: int, capabilities: Capabilities) -> list[list[int]]:
    """Cut pairs into micro-batches of at most `tokens` tokens each; a longer pair is alone.

    Returns:
        The places of the pairs, by micro-batch, the longest pairs first.
    """
    return cut(pairs, tokens=tokens, padded=not _fit_into_a_row(pairs, capabilities))


def _fit_into_a_row(pairs: Sequence[TokenizedPair], capabilities: Capabilities) -> bool:
    """Say whether the model reads packed rows of these pairs: such rows know no sliding window."""
    window = capabilities.window
    return capabilities.packed and (window is None or all(row_length(pair) <= window for pair in pairs))


@torch.no_grad()
def detect_capabilities(model: nn.Module, *, vocabulary_size: int) -> Capabilities:
    """Find by trying what `model` can do: compare log-probs on two small random pairs of unequal lengths."""
    if (whole := next((part for part in model.modules() if isinstance(part, PreTrainedModel)), None)) is not None:
        take_packed_rows(whole)
    dtype = next(model.parameters()).dtype
    generator = torch.Generator().manual_seed(0)

    def tokens(size: int) -> tuple[int, ...]:
        return tuple(torch.randint(vocabulary_size, (size,), generator=generator).tolist())

    pairs = [TokenizedPair(tokens(7), tokens(5), tokens(9)), TokenizedPair(tokens(11), tokens(3), tokens(2))]
    device = next(model.parameters()).device
    plain = pad(pairs, pad_id=0).to(device)
    expected = torch.cat(sequence_log_probs(model, plain, split_head=False))
    tolerance = {torch.float64: 1e-6, torch.float32: 1e-3}.get(dtype, 0.5)

    def gives_the_same(batch: PreferenceBatch, *, split_head: bool) -> bool:
        try:
            found = torch.cat(sequence_log_probs(model, batch.to(device), split_head=split_head))
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
            return False  # the architecture refuses such input: that is an answer
        # No relative tolerance: it would grow with the log-probs and hide a mask that is ignored.
        return bool(torch.allclose(found, expected, atol=tolerance, rtol=0.0))

    packed = gives_the_same(pack(pairs), split_head=False)
    return Capabilities(
        packed=packed,
        split_head=gives_the_same(plain, split_head=True),
        window=_window(model),
        slots=packed and whole is not None and _takes_slots(whole, [pair.prompt for pair in pairs], atol=tolerance),
    )


def _takes_slots(model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], *, atol: float) -> bool:
    """Compare a prefill and a step with the logits of whole texts."""
    expected = [model(torch.tensor([prompt], device=model.device)).logits[0] for prompt in prompts]
    cache = SlotCache(len(prompts))
    beginnings = [prompt[:-1] for prompt in prompts]
    groups = [Prompts((), [beginning], [[slot]]) for slot, beginning in enumerate(beginnings)]
    last = torch.tensor([prompt[-1] for prompt in prompts], device=model.device)
    lengths = torch.tensor([len(prompt) for prompt in beginnings], device=model.device)
    try:
        logits = prefill(model, cache, groups), step(model, cache, last, lengths)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return False
    behind = torch.stack([text[-2] for text in expected]), torch.stack([text[-1] for text in expected])
    return all(
        torch.allclose(slot.float(), whole.float(), atol=atol, rtol=0.0)
        for slot, whole in zip(logits, behind, strict=True)
    )


def _window(model: nn.Module) -> int | None:
    # Read, not tried: the probe would have to be longer than the window, which may be thousands of tokens.
    config: Any = getattr(model, "config", None)
    text = None if config is None else config.get_text_config()
    spans = [getattr(text, name, None) for name in ("sliding_window", "window_size", "attention_chunk_size")]
    return min((span for span in spans if isinstance(span, int)), default=None)
