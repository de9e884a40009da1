"""Features of a response: pooled hidden states of a frozen model's middle layers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from mva.data.packing import in_one_row
from mva.data.preference import Dialogue
from mva.data.tokenization import TokenLimits, tokenize_answers
from mva.models.backbone import Backbone
from mva.models.blocks import transformer_blocks
from mva.models.long_pass import LongPass
from mva.models.store import Store, key_of
from mva.stages import Advance

Text = tuple[Dialogue, str]
Tokens = tuple[list[int], list[int]]
Pooling = Literal["mean", "last"]


class _DeepEnough(Exception):
    """The last layer that anyone asked for has run."""


@dataclass(frozen=True)
class HiddenFeatures:
    """Read a response's features off the hidden states of `backbone`, given the prompt.

    `layers` are fractions of the depth: 0.5 is the output of the block in the middle, 1 that of the last one.
    `pooling` lists how a layer's states become features: averaged over the response's tokens (`mean`), read
    at the last one (`last`), or both. No layer after the last one asked for is computed.

    How texts are batched depends on the set of texts in a call, and on nothing before it: float arithmetic differs
    between batches in its last digits, and what is computed must be a function of what is asked for. The features of
    the last call are remembered, so that several heads that score the same texts in turn share them. With a `store`, a
    long call that is interrupted is continued.
    """

    backbone: Backbone
    layers: tuple[float, ...]
    pooling: tuple[Pooling, ...]
    limits: TokenLimits
    batch_size: int
    store: Store | None = None
    _remembered: dict[Text, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, texts: Sequence[Text], *, advance: Advance = lambda _done: None) -> Tensor:
        """Compute the features of `(prompt, response)` texts; identical ones once.

        Shape: `(n, n_layers * n_poolings * d_model)`, float64, on the CPU.

        Raises:
            FloatingPointError: If a feature is not finite.
        """
        if self._remembered.keys() == set(texts):
            advance(len(self._remembered))
        else:
            features = self._compute(list(dict.fromkeys(texts)), advance)
            self._remembered.clear()
            self._remembered.update(features)
        return torch.stack([self._remembered[text] for text in texts])

    def _compute(self, texts: Sequence[Text], advance: Advance) -> dict[Text, Tensor]:
        tokens = {text: self._tokens(text) for text in texts}
        # Responses to one prompt stand together, and read it once. Padded rows are of like length, the longest first:
        # what does not fit into memory fails at once, and the bar errs on the safe side.
        rank = _by_prompt if self._packed(tokens.values()) else _by_length
        order = sorted(texts, key=lambda text: (*rank(tokens[text]), text))
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

        def rows_of(number: int) -> Tensor:
            return self._finite(batches[number], self._forward([tokens[text] for text in batches[number]]))

        if self.store is None:
            rows = torch.cat([rows_of(number) for number in range(len(batches))])
            advance(len(rows))
        else:
            under_way = LongPass(self.store, self._key([tokens[text] for text in order]))
            rows = under_way.rows(len(batches), rows_of, advance=advance)
        return dict(zip(order, rows.double(), strict=True))

    def _packed(self, tokens: Iterable[Tokens]) -> bool:
        """Say whether the model reads these texts in packed rows, which know no sliding window."""
        able = self.backbone.capabilities
        return able.packed and (able.window is None or all(sum(map(len, text)) <= able.window for text in tokens))

    def _key(self, tokens: Sequence[Tokens]) -> str:
        return key_of(
            {
                "features": self.backbone.fingerprint,
                "layers": list(self.layers),
                "pooling": list(self.pooling),
                "batch_size": self.batch_size,
                "packed": self._packed(tokens),
                "tokens": tokens,
            }
        )

    def _finite(self, texts: Sequence[Text], rows: Tensor) -> Tensor:
        for (_, response), finite in zip(texts, torch.isfinite(rows).all(dim=1).tolist(), strict=True):
            if not finite:
                raise FloatingPointError(
                    f"{self.backbone.name} has hidden states that are not finite for the response "
                    f"{response[:60]!r}: check its weights, and model.dtype (float16 overflows where bfloat16 and "
                    f"float32 do not)."
                )
        return rows

    def _tokens(self, text: Text) -> Tokens:
        prompt, response = text
        exchange = tokenize_answers(prompt, (response,), self.backbone.template, self.limits)
        return list(exchange.prompt), list(exchange.answers[0])

    def _forward(self, tokens: Sequence[Tokens]) -> Tensor:
        model = self.backbone.model.eval()
        inputs, starts = _in_one_row(tokens) if self._packed(tokens) else _padded(tokens)
        weights = _weights(tokens, starts, self.pooling, n_positions=inputs["input_ids"].numel()).to(model.device)
        blocks = _blocks(model, self.layers)
        pooled: list[Tensor] = []

        def pool(_block: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            dtype = torch.promote_types(hidden.dtype, torch.float32)
            pooled.append(torch.einsum("pnl,ld->npd", weights.to(dtype), hidden.flatten(0, -2).to(dtype)).flatten(1))
            if len(pooled) == len(blocks):
                raise _DeepEnough

        with _forward_hooks(blocks, pool), suppress(_DeepEnough), torch.no_grad():
            model.base_model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}, use_cache=False)
        return torch.cat(pooled, dim=1).cpu()


def _by_prompt(tokens: Tokens) -> tuple[object, ...]:
    prompt, response = tokens
    return -len(prompt), prompt, -len(response), response


def _by_length(tokens: Tokens) -> tuple[object, ...]:
    return -sum(map(len, tokens)), tokens


def _in_one_row(tokens: Sequence[Tokens]) -> tuple[dict[str, Tensor], list[int]]:
    """Lay texts in one row, in which a prompt stands once for the responses to it that follow each other.

    Returns:
        The model's input, and where each response begins.
    """
    by_prompt = [(prompt, [response for _, response in texts]) for prompt, texts in groupby(tokens, itemgetter(0))]
    starts: list[int] = []
    end = 0
    for prompt, responses in by_prompt:
        end += len(prompt)
        for response in responses:
            starts.append(end)
            end += len(response)
    input_ids, position_ids, lengths = in_one_row(by_prompt)
    return {"input_ids": input_ids, "position_ids": position_ids, "attention_mask": lengths}, starts


def _padded(tokens: Sequence[Tokens]) -> tuple[dict[str, Tensor], list[int]]:
    """Pad to the right, where a causal model never looks; returns what `_in_one_row` does."""
    input_ids = pad_sequence([torch.tensor(prompt + response) for prompt, response in tokens], batch_first=True)
    length = input_ids.shape[1]
    sizes = torch.tensor([len(prompt) + len(response) for prompt, response in tokens])
    attention_mask = (torch.arange(length) < sizes[:, None]).long()
    starts = [k * length + len(prompt) for k, (prompt, _) in enumerate(tokens)]
    return {"input_ids": input_ids, "attention_mask": attention_mask}, starts


def _weights(
    tokens: Sequence[Tokens], starts: Sequence[int], pooling: Sequence[Pooling], *, n_positions: int
) -> Tensor:
    """Weigh each position of all rows for each kind of pooling. Shape: `(n_poolings, n, n_positions)`, float64."""
    position = torch.arange(n_positions)
    start = torch.tensor(starts)[:, None]
    end = start + torch.tensor([len(response) for _, response in tokens])[:, None]
    first = {"mean": start, "last": end - 1}
    pooled = torch.stack([(position >= first[kind]) & (position < end) for kind in pooling]).double()
    return pooled / pooled.sum(dim=-1, keepdim=True)


def _blocks(model: PreTrainedModel, layers: Sequence[float]) -> list[nn.Module]:
    """Find the transformer blocks at the given fractions of the depth, in the order in which they run."""
    blocks = transformer_blocks(model)
    return [blocks[k] for k in sorted({max(1, round(fraction * len(blocks))) - 1 for fraction in layers})]


@contextmanager
def _forward_hooks(modules: Sequence[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
