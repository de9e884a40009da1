"""Decoding with slots: a response that ends leaves its slot to the next request."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mva.engines.base import NOT_FINITE, Decoding, Request, Response
from mva.engines.sampling import choose, finite
from mva.models.backbone import Backbone
from mva.models.slots import Prompts, SlotCache, prefill, step
from mva.policies.base import Member, Policy
from mva.policies.mixture import MixedLogProbs

Enter = Callable[[Tensor], AbstractContextManager[PreTrainedModel]]
Group = tuple[tuple[float, ...], Prompts]  # coefficients, and the prompts that are read with them

_TOGETHER = 16  # prompts that share one reading of their beginning
_ADMIT = 8  # prompts are read as soon as one slot of so many is free: few at a time make small products


@dataclass
class _Answer:
    """A response that is being generated."""

    request: Request
    tokens: list[int] = field(default_factory=list)
    failed: bool = False

    def ended(self, decoding: Decoding) -> bool:
        """Say whether nothing more is to come."""
        full = len(self.tokens) == decoding.max_new_tokens
        return self.failed or full or self.tokens[-1] in decoding.stop_ids

    def response(self) -> Response:
        """Hand the response over."""
        if self.failed:
            return Response(self.request.id, failure=NOT_FINITE)
        return Response(self.request.id, tuple(self.tokens))


class _Row(NamedTuple):
    """A row of the batch: an answer's only one, or one for each member of a mixture, which share its tokens."""

    answer: _Answer
    member: Member


class SlotDecoder:
    """One pass over requests: `enter(coefficients)` gives the model whose rows, or tokens, have these coefficients.

    Row i of the active rows has slot i.
    """

    def __init__(self, policy: Policy, backbone: Backbone, enter: Enter, decoding: Decoding) -> None:
        self._policy, self._backbone, self._enter, self._decoding = policy, backbone, enter, decoding
        # The members of a mixture are at most the vectors and the base.
        self._cache = SlotCache(max(decoding.batch_size, len(policy.values) + 1))
        self._rows: list[_Row] = []

    @torch.no_grad()
    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Yield responses as they end; the model is the base between two of them."""
        waiting = _Waiting(self._row_group(request) for request in requests)
        while waiting or self._rows:
            free = self._cache.n_slots - len(self._rows)
            many_free = free * _ADMIT >= self._cache.n_slots
            if admitted := waiting.take(free if many_free else 0):
                self._admit(admitted)
            else:
                self._step()
            yield from self._ended()

    def _row_group(self, request: Request) -> list[_Row]:
        answer = _Answer(request)
        return [_Row(answer, member) for member in self._policy.members(request.coefficients)]

    def _admit(self, rows: list[_Row]) -> None:
        """Read the rows' prompts, a budget of tokens at a time, and choose their first tokens."""
        first = len(self._rows)
        self._rows += rows
        by_slot: list[Tensor] = [torch.empty(0)] * len(rows)
        for batch in _batches(_groups(rows, first), self._backbone.token_budget):
            omegas = torch.tensor([coefficients for coefficients, _ in batch], dtype=torch.float64)
            sizes = torch.tensor([prompts.n_tokens for _, prompts in batch])
            with self._enter(omegas.repeat_interleave(sizes, dim=0)[None]) as model:
                logits = prefill(model, self._cache, [prompts for _, prompts in batch])
            owners = chain.from_iterable(prompts.slots for _, prompts in batch)
            for slots, behind in zip(owners, logits, strict=True):
                for slot in slots:
                    by_slot[slot - first] = behind
        self._choose(rows, torch.stack(by_slot))

    def _step(self) -> None:
        """Give every active row one more token."""
        device = self._backbone.device
        tokens = torch.tensor([row.answer.tokens[-1] for row in self._rows], device=device)
        lengths = torch.tensor([len(row.answer.request.prompt) + len(row.answer.tokens) - 1 for row in self._rows])
        with self._enter(torch.tensor([row.member.coefficients for row in self._rows], dtype=torch.float64)) as model:
            logits = step(model, self._cache, tokens, lengths.to(device))
        self._choose(self._rows, logits)

    def _choose(self, rows: Sequence[_Row], logits: Tensor) -> None:
        answers = {id(row.answer): k for k, row in reversed(list(enumerate(rows)))}
        usable = finite(logits).tolist()
        if len(answers) < len(rows):
            logits = MixedLogProbs([(answers[id(row.answer)], row.member) for row in rows])(logits, logits)
        seeds = torch.tensor([row.answer.request.seed for row in rows], device=logits.device)
        steps = torch.tensor([len(row.answer.tokens) for row in rows], device=logits.device)
        tokens = choose(logits, seeds, steps, self._decoding).tolist()
        for k, row in enumerate(rows):
            row.answer.failed |= not usable[k]
            if answers[id(row.answer)] == k:
                row.answer.tokens.append(tokens[k])

    def _ended(self) -> list[Response]:
        """Take out the answers that have ended; the last rows move into the slots that they leave."""
        ended: dict[int, Response] = {}
        for slot in reversed(range(len(self._rows))):
            answer = self._rows[slot].answer
            if not answer.ended(self._decoding):
                continue
            ended[answer.request.id] = answer.response()
            if answer.failed:
                self._cache.clear(slot)
            last = self._rows.pop()
            if slot < len(self._rows):
                self._rows[slot] = last
                self._cache.copy(len(self._rows), slot)
        return list(ended.values())


class _Waiting:
    """Requests that have no slots yet, taken from their iterator as slots become free."""

    def __init__(self, groups: Iterator[list[_Row]]) -> None:
        self._groups = groups
        self._next = next(groups, None)

    def __bool__(self) -> bool:
        return self._next is not None

    def take(self, n_slots: int) -> list[_Row]:
        """Take as many whole groups of rows as fit."""
        rows: list[_Row] = []
        while self._next is not None and len(rows) + len(self._next) <= n_slots:
            rows += self._next
            self._next = next(self._groups, None)
        return rows


def _groups(rows: Sequence[_Row], first: int) -> Iterator[Group]:
    """Group rows of equal coefficients, whose prompts' common beginning is read once; row k has slot `first + k`."""
    slots: dict[tuple[float, ...], dict[tuple[int, ...], list[int]]] = {}
    for slot, row in enumerate(rows, start=first):
        slots.setdefault(row.member.coefficients, {}).setdefault(row.answer.request.prompt, []).append(slot)
    for coefficients, by_prompt in slots.items():
        prompts = list(by_prompt)
        shared = _common(prompts) if len(prompts) > 1 else 0
        for start in range(0, len(prompts), _TOGETHER):
            together = prompts[start : start + _TOGETHER]
            endings = [prompt[shared:] for prompt in together]
            yield coefficients, Prompts(prompts[0][:shared], endings, [by_prompt[prompt] for prompt in together])


def _common(prompts: Sequence[tuple[int, ...]]) -> int:
    """Count the tokens that all prompts begin with, less than the shortest has."""
    columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
    return next((k for k, column in enumerate(columns) if len(set(column)) > 1), min(map(len, prompts)) - 1)


def _batches(groups: Iterable[Group], budget: int) -> Iterator[list[Group]]:
    """Cut groups into batches of at most `budget` tokens; a longer group is alone."""
    batch: list[Group] = []
    total = 0
    for group in groups:
        n_tokens = group[1].n_tokens
        if batch and total + n_tokens > budget:
            yield batch
            batch, total = [], 0
        batch.append(group)
        total += n_tokens
    yield batch
