"""Preference batches in two layouts that give the same log-probs.

Packed, one row a pair (the prompt is computed once):

    row:        prompt ......  chosen ......  rejected ......  padding
    position:   0 ... p-1      p ... p+c-1    p ... p+r-1
    sees:       itself         prompt, chosen  prompt, rejected

Plain, two rows a pair: `prompt chosen` for every pair, then `prompt rejected` for every pair.

Either way the scored tokens are listed flat, so that whoever computes log-probs needs not know the layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from mva.data.tokenization import TokenizedPair


@dataclass(frozen=True)
class PreferenceBatch:
    """`n` preference pairs as model input plus the list of the response tokens to score.

    Shape:
        - `input_ids`, `position_ids`: `(rows, length)`
        - `attention_mask`: additive `(rows, 1, length, length)` when packed, 0/1 `(rows, length)` when plain
        - `target_row`, `target_position`, `target_token`, `target_sequence`: `(n_targets,)`; the hidden state at
          (`target_row`, `target_position`) predicts `target_token`, which belongs to sequence `target_sequence`:
          0..n-1 are the chosen responses, n..2n-1 the rejected ones
        - `index`: `(n,)` row numbers in the data set
        - `reference`: `(n, 2)` the reference policy's log-probs of (chosen, rejected), or None
        - `owner`: `(n,)` whose pairs they are, counted through the values of the training, or None
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    target_row: Tensor
    target_position: Tensor
    target_token: Tensor
    target_sequence: Tensor
    index: Tensor
    reference: Tensor | None = None
    owner: Tensor | None = None

    def __len__(self) -> int:
        return self.index.shape[0]

    def to(self, device: torch.device | str) -> Self:
        """Move every tensor."""
        moved = {f.name: tensor.to(device) for f in fields(self) if isinstance(tensor := getattr(self, f.name), Tensor)}
        return replace(self, **moved)


def pack(pairs: Sequence[TokenizedPair], *, pad_id: int, dtype: torch.dtype = torch.float32) -> PreferenceBatch:
    """Lay each pair in one row that shares the prompt; `dtype` is the model's (for the additive mask)."""
    n = len(pairs)
    length = max(len(p.prompt) + len(p.chosen) + len(p.rejected) for p in pairs)
    ids = torch.full((n, length), pad_id)
    positions = torch.zeros((n, length), dtype=torch.long)
    sees = torch.eye(length, dtype=torch.bool).repeat(n, 1, 1)  # padding sees itself: no row is all masked
    causal = torch.ones((length, length), dtype=torch.bool).tril()
    targets: list[Tensor] = []
    for row, pair in enumerate(pairs):
        p, c, r = len(pair.prompt), len(pair.chosen), len(pair.rejected)
        end = p + c + r
        ids[row, :end] = torch.tensor(pair.prompt + pair.chosen + pair.rejected)
        positions[row, :end] = torch.cat([torch.arange(p + c), torch.arange(p, p + r)])
        sees[row, :end, :end] = causal[:end, :end]
        sees[row, p + c : end, p : p + c] = False  # the rejected response does not see the chosen one
        targets.append(_targets(pair.chosen, row, first=p - 1, then=p, sequence=row))
        targets.append(_targets(pair.rejected, row, first=p - 1, then=p + c, sequence=n + row))
    mask = torch.zeros((n, 1, length, length), dtype=dtype).masked_fill_(~sees[:, None], torch.finfo(dtype).min)
    return _batch(ids, positions, mask, targets)


def pad(pairs: Sequence[TokenizedPair], *, pad_id: int) -> PreferenceBatch:
    """Lay each response in a row of its own behind its prompt, padded on the right."""
    n = len(pairs)
    rows = [(p.prompt, p.chosen) for p in pairs] + [(p.prompt, p.rejected) for p in pairs]
    length = max(len(prompt) + len(response) for prompt, response in rows)
    ids = torch.full((2 * n, length), pad_id)
    mask = torch.zeros((2 * n, length), dtype=torch.long)
    targets: list[Tensor] = []
    for row, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        ids[row, :end] = torch.tensor(prompt + response)
        mask[row, :end] = 1
        targets.append(_targets(response, row, first=len(prompt) - 1, then=len(prompt), sequence=row))
    positions = torch.arange(length).expand(2 * n, length).clone()
    return _batch(ids, positions, mask, targets)


def _batch(ids: Tensor, positions: Tensor, mask: Tensor, targets: Sequence[Tensor]) -> PreferenceBatch:
    row, position, token, sequence = torch.cat(list(targets), dim=1)
    return PreferenceBatch(ids, positions, mask, row, position, token, sequence, index=torch.arange(len(targets) // 2))


def _targets(response: Sequence[int], row: int, *, first: int, then: int, sequence: int) -> Tensor:
    """List (row, position, token, sequence) of a response from `then` on, whose first token is predicted at `first`."""
    size = len(response)
    position = torch.arange(then - 1, then - 1 + size)
    position[0] = first
    return torch.stack([torch.full((size,), row), position, torch.tensor(response), torch.full((size,), sequence)])
