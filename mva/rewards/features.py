"""Features of a response: pooled hidden states of a frozen model's middle layers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from mva.data.preference import Dialogue
from mva.data.tokenization import TokenLimits, tokenize_answers
from mva.models.backbone import Backbone
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
        # Longest first: what does not fit into memory fails at once, and the bar errs on the safe side.
        order = sorted(texts, key=lambda text: (-sum(map(len, tokens[text])), tokens[text], text))
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

    def _key(self, tokens: Sequence[Tokens]) -> str:
        return key_of(
            {
                "features": self.backbone.fingerprint,
                "layers": list(self.layers),
                "pooling": list(self.pooling),
                "batch_size": self.batch_size,
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
        input_ids, attention_mask, weights = _collate(tokens, self.pooling, model.device)
        blocks = _blocks(model, self.layers)
        pooled: list[Tensor] = []

        def pool(_block: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            dtype = torch.promote_types(hidden.dtype, torch.float32)
            pooled.append(torch.einsum("pnl,nld->npd", weights.to(dtype), hidden.to(dtype)).flatten(1))
            if len(pooled) == len(blocks):
                raise _DeepEnough

        with _forward_hooks(blocks, pool), suppress(_DeepEnough), torch.no_grad():
            model.base_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        return torch.cat(pooled, dim=1).cpu()


def _collate(
    tokens: Sequence[Tokens], pooling: Sequence[Pooling], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Pad to the right, where a causal model never looks, and weigh each position for each kind of pooling.

    Shape: ids and attention mask are `(n, length)`, the weights `(n_poolings, n, length)`, float64.
    """
    input_ids = pad_sequence([torch.tensor(prompt + response) for prompt, response in tokens], batch_first=True)
    position = torch.arange(input_ids.shape[1])
    start = torch.tensor([len(prompt) for prompt, _ in tokens])[:, None]
    end = torch.tensor([len(prompt) + len(response) for prompt, response in tokens])[:, None]
    first = {"mean": start, "last": end - 1}
    pooled = torch.stack([(position >= first[kind]) & (position < end) for kind in pooling]).double()
    weights = pooled / pooled.sum(dim=-1, keepdim=True)
    return input_ids.to(device), (position < end).long().to(device), weights.to(device)


def _blocks(model: PreTrainedModel, layers: Sequence[float]) -> list[nn.Module]:
    """Find the transformer blocks at the given fractions of the depth, in the order in which they run."""
    depth = model.config.num_hidden_layers
    stack = next(m for m in model.base_model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth)
    return [stack[k] for k in sorted({max(1, round(fraction * depth)) - 1 for fraction in layers})]


@contextmanager
def _forward_hooks(modules: Sequence[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
