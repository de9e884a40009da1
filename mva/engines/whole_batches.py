"""Batches of `model.generate`: for architectures whose attention takes no slots, and texts beyond a sliding window."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from mva.engines.base import NOT_FINITE, Decoding, Request, Response
from mva.engines.sampling import choose, finite
from mva.models.backbone import Backbone
from mva.policies.base import Policy
from mva.policies.mixture import MixedLogProbs

_WINDOW = 4  # batches whose requests are sorted by the lengths of their prompts, so that little is padded


class _Chooser(LogitsProcessor):
    """Leave each row the token that `choose` gives it, and remember which rows ever had logits that are not finite."""

    def __init__(self, seeds: Sequence[int], decoding: Decoding) -> None:
        self._seeds = torch.tensor(seeds)
        self._decoding = decoding
        self._step = 0
        self.finite: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Choose. Shape: `scores` and the result are `(rows, vocabulary)`."""
        usable = finite(scores)
        self.finite = usable if self.finite is None else self.finite & usable
        steps = torch.full_like(self._seeds, self._step).to(scores.device)
        tokens = choose(scores, self._seeds.to(scores.device), steps, self._decoding)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)


def answer_in_batches(
    policy: Policy, backbone: Backbone, requests: Iterable[Request], decoding: Decoding
) -> Iterator[Response]:
    """Answer batch after batch. A batch holds one candidate where the policy does not take mixed rows."""
    groups = [requests] if policy.mixed_rows else (group for _, group in groupby(requests, _coefficients))
    for group in groups:
        waiting = iter(group)
        while window := list(islice(waiting, _WINDOW * decoding.batch_size)):
            window.sort(key=lambda request: -len(request.prompt))
            for start in range(0, len(window), decoding.batch_size):
                yield from _answer(policy, backbone, window[start : start + decoding.batch_size], decoding)


def _coefficients(request: Request) -> tuple[float, ...]:
    return request.coefficients


def _answer(policy: Policy, backbone: Backbone, batch: Sequence[Request], decoding: Decoding) -> list[Response]:
    # A response is one row, or several of which all are given the same tokens.
    rows = [(k, member) for k, request in enumerate(batch) for member in policy.members(request.coefficients)]
    chooser = _Chooser([batch[k].seed for k, _ in rows], decoding)
    processors = LogitsProcessorList([MixedLogProbs(rows)] if len(rows) > len(batch) else [])
    processors.append(chooser)
    coefficients = torch.tensor([member.coefficients for _, member in rows], dtype=torch.float64)
    with policy.rows(coefficients) as model:
        generated = _generate(model, [batch[k].prompt for k, _ in rows], processors, decoding, pad=backbone.pad_id)
    assert chooser.finite is not None
    failed = {k for (k, _), usable in zip(rows, chooser.finite.tolist(), strict=True) if not usable}
    tokens = {k: ids for (k, _), ids in zip(rows, generated, strict=True)}
    return [
        Response(request.id, failure=NOT_FINITE) if k in failed else Response(request.id, tokens[k])
        for k, request in enumerate(batch)
    ]


def _generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    processors: LogitsProcessorList,
    decoding: Decoding,
    *,
    pad: int,
) -> list[tuple[int, ...]]:
    length = max(map(len, prompts))
    input_ids = torch.tensor([[pad] * (length - len(prompt)) + list(prompt) for prompt in prompts])
    attention_mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    # Decoding is ours to define: what the model's own generation config would add is set to nothing.
    config = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        do_sample=False,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        repetition_penalty=1.0,
        use_cache=True,
        pad_token_id=pad,
        eos_token_id=list(decoding.stop_ids),
    )
    output = model.generate(
        input_ids=input_ids.to(model.device),
        attention_mask=attention_mask.to(model.device),
        generation_config=config,
        logits_processor=processors,
    )
    return [_up_to_stop(ids, decoding.stop_ids) for ids in output[:, length:].tolist()]


def _up_to_stop(ids: Sequence[int], stop_ids: Sequence[int]) -> tuple[int, ...]:
    end = next((k for k, token in enumerate(ids, start=1) if token in stop_ids), len(ids))
    return tuple(ids[:end])
