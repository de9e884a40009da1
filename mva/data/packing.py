"""Preference batches in two layouts that give the same log-probs.

Packed: all pairs in one row, one after the other, each with its prompt once; nothing is padded:

    row:        prompt  chosen  rejected | prompt  chosen  rejected | ...
    position:   0..p-1  p..     p..      | 0..p-1  p..     p..      | ...
    sees:       itself  prompt  prompt   | itself  prompt  prompt   | ...
                        itself  itself             itself  itself

Plain: two rows a pair, `prompt chosen` for every pair, then `prompt rejected` for every pair, padded on the right.

Either way the scored tokens are listed flat, so that whoever computes log-probs needs not know the layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, chain
from typing import Self

import torch
from torch import Tensor

from mva.counter_noise import combined
from mva.data.tokenization import TokenizedPair

Answered = tuple[Sequence[int], Sequence[Sequence[int]]]
"""The tokens of a prompt, and those of each of the responses to it."""

PADDING = 0.05  # of what a batch of padded rows computes: at most so much is due to unlike lengths


@dataclass(frozen=True)
class PreferenceBatch:
    """`n` preference pairs as model input plus the list of the response tokens to score.

    Shape:
        - `input_ids`, `position_ids`: `(rows, length)`; one row when packed
        - `attention_mask`: the lengths `(1, 1, n, 3)` of prompts, chosen and rejected responses when packed (see
          `models/attention.py`), 0/1 `(rows, length)` when plain
        - `places`: `(rows, length)`, a token's name in its pair, in either layout: twice its position, plus 1 in the
          rejected response
        - `target_row`, `target_position`, `target_token`, `target_sequence`: `(n_targets,)`; the hidden state at
          (`target_row`, `target_position`) predicts `target_token`, which belongs to sequence `target_sequence`:
          0..n-1 are the chosen responses, n..2n-1 the rejected ones
        - `index`: `(n,)` row numbers among the pairs of their owner
        - `reference`: `(n, 2)` the reference policy's log-probs of (chosen, rejected), or None
        - `owner`: `(n,)` whose pairs they are, counted through the values of the training, or None
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    places: Tensor
    target_row: Tensor
    target_position: Tensor
    target_token: Tensor
    target_sequence: Tensor
    index: Tensor
    reference: Tensor | None = None
    owner: Tensor | None = None

    def __len__(self) -> int:
        return self.index.shape[0]

    @property
    def packed(self) -> bool:
        """Say whether all pairs share one row."""
        return self.attention_mask.ndim == 4

    def to(self, device: torch.device | str) -> Self:
        """Move every tensor but the lengths of a packed row: they are read on the CPU, where no one waits for them."""
        moved = {f.name: tensor.to(device) for f in fields(self) if isinstance(tensor := getattr(self, f.name), Tensor)}
        if self.packed:
            moved["attention_mask"] = self.attention_mask
        return replace(self, **moved)

    def by_token(self, by_pair: Tensor) -> Tensor:
        """Repeat what belongs to a pair for its tokens. Shape: `(n, k)` to `(rows, length or 1, k)`."""
        if not self.packed:
            return by_pair.repeat(2, 1)[:, None]
        sizes = self.attention_mask[0, 0].sum(dim=1).to(by_pair.device)
        return by_pair.repeat_interleave(sizes, dim=0, output_size=self.input_ids.shape[1])[None]

    def token_keys(self, *parts: Tensor | int) -> Tensor:
        """Name every token, the same in either layout, by `parts` (for all pairs, or `(n,)`), its pair and its place.

        Shape: int64 `(rows, length)`.
        """
        by_pair = combined(*parts, self.index)
        return combined(self.by_token(by_pair[:, None])[..., 0], self.places)


def pack(pairs: Sequence[TokenizedPair]) -> PreferenceBatch:
    """Lay all pairs in one row."""
    n = len(pairs)
    ids, positions, lengths = in_one_row([(pair.prompt, (pair.chosen, pair.rejected)) for pair in pairs])
    starts = accumulate((sum(sizes) for sizes in lengths[0, 0].tolist()), initial=0)
    targets: list[Tensor] = []
    for k, (pair, start) in enumerate(zip(pairs, starts, strict=False)):
        answer = start + len(pair.prompt)
        targets.append(_targets(pair.chosen, 0, first=answer - 1, then=answer, sequence=k))
        targets.append(
            _targets(pair.rejected, 0, first=answer - 1, then=answer + len(pair.chosen), sequence=n + k),
        )
    rejected = torch.tensor([0, 0, 1]).repeat(n).repeat_interleave(lengths.flatten().long())
    return _batch(ids, positions, lengths, 2 * positions + rejected, targets)


def in_one_row(texts: Sequence[Answered]) -> tuple[Tensor, Tensor, Tensor]:
    """Lay prompts in one row, each with its responses behind it.

    Returns:
        Ids and positions, `(1, length)`, and the lengths of prompts and responses, int32, `(1, 1, n, 1 + most
        responses)`: 0 where a prompt has fewer responses than others.
    """
    ids = list(chain.from_iterable([*prompt, *chain.from_iterable(responses)] for prompt, responses in texts))
    positions: list[int] = []
    for prompt, responses in texts:
        positions += range(len(prompt))
        for response in responses:
            positions += range(len(prompt), len(prompt) + len(response))
    lengths = torch.zeros((1, 1, len(texts), 1 + max(len(responses) for _, responses in texts)), dtype=torch.int32)
    for k, (prompt, responses) in enumerate(texts):
        lengths[0, 0, k, : 1 + len(responses)] = torch.tensor([len(prompt), *map(len, responses)])
    return torch.tensor([ids]), torch.tensor([positions]), lengths


def pad(pairs: Sequence[TokenizedPair], *, pad_id: int) -> PreferenceBatch:
    """Lay each response in a row of its own behind its prompt, padded on the right."""
    n = len(pairs)
    rows = [(p.prompt, p.chosen) for p in pairs] + [(p.prompt, p.rejected) for p in pairs]
    length = max(len(prompt) + len(response) for prompt, response in rows)
    ids = torch.full((2 * n, length), pad_id)
    mask = torch.zeros((2 * n, length), dtype=torch.long)
    rejected = torch.zeros_like(mask)
    targets: list[Tensor] = []
    for row, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        ids[row, :end] = torch.tensor(prompt + response)
        mask[row, :end] = 1
        rejected[row, len(prompt) : end] = int(row >= n)
        targets.append(_targets(response, row, first=len(prompt) - 1, then=len(prompt), sequence=row))
    positions = torch.arange(length).expand(2 * n, length).clone()
    return _batch(ids, positions, mask, 2 * positions + rejected, targets)


def cut(pairs: Sequence[TokenizedPair], *, tokens: int, padded: bool) -> list[list[int]]:
    """Cut pairs into micro-batches of at most `tokens` tokens, the longest pairs first; a longer pair is alone.

    Where rows are `padded`, a micro-batch ends before unlike lengths of its pairs make `PADDING` of what it computes.
    (What a pair's shorter response leaves empty is not counted: that can't be cut away.)

    Returns:
        The places of the pairs, by micro-batch.
    """
    if padded:
        return of_like_length([2 * row_length(pair) for pair in pairs], tokens=tokens)
    micro_batches: list[list[int]] = []
    total = 0
    for place in sorted(range(len(pairs)), key=lambda k: -row_length(pairs[k])):
        pair = pairs[place]
        size = len(pair.prompt) + len(pair.chosen) + len(pair.rejected)
        if not micro_batches or total + size > tokens:
            micro_batches.append([])
            total = 0
        micro_batches[-1].append(place)
        total += size
    return micro_batches


def of_like_length(lengths: Sequence[int], *, tokens: int) -> list[list[int]]:
    """Cut texts into batches of padded rows: at most `tokens` tokens and `PADDING` padding each, the longest first.

    Returns:
        The places of the texts, by batch; a text longer than `tokens` is alone.
    """
    batches: list[list[int]] = []
    longest = total = 0
    for index in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        total += lengths[index]
        computed = longest * (len(batches[-1]) + 1) if batches else 0
        if not batches or computed > tokens or total < (1 - PADDING) * computed:
            batches.append([])
            longest = total = lengths[index]
        batches[-1].append(index)
    return batches


def row_length(pair: TokenizedPair) -> int:
    """Count the tokens of the longer of the pair's two texts."""
    return len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))


def _batch(ids: Tensor, positions: Tensor, mask: Tensor, places: Tensor, targets: Sequence[Tensor]) -> PreferenceBatch:
    row, position, token, sequence = torch.cat(list(targets), dim=1)
    index = torch.arange(len(targets) // 2)
    return PreferenceBatch(ids, positions, mask, places, row, position, token, sequence, index)


def _targets(response: Sequence[int], row: int, *, first: int, then: int, sequence: int) -> Tensor:
    """List (row, position, token, sequence) of a response from `then` on, whose first token is predicted at `first`."""
    size = len(response)
    position = torch.arange(then - 1, then - 1 + size)
    position[0] = first
    return torch.stack([torch.full((size,), row), position, torch.tensor(response), torch.full((size,), sequence)])
