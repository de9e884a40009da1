"""Batched generation: rows of different candidates and prompts share one forward pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from mva.checks import Bounds, Count, NotNegative, Seed, check
from mva.data.preference import Dialogue, prompt_id
from mva.data.reasoning import Strip, thought_is_open, thought_marks, without_thought
from mva.data.tokenization import generation_prompt_ids
from mva.models.backbone import Backbone
from mva.policies.base import Policy
from mva.policies.mixture import MixedLogProbs
from mva.seeding import derive_seed
from mva.stages import Advance


@dataclass(frozen=True)
class GenerationSpec:
    """How responses are generated.

    `max_new_tokens` and `max_prompt_tokens` (longer prompts are shortened) are in tokens, `batch_size`
    in responses. Temperature 0 is greedy decoding; otherwise tokens are sampled from the smallest set of
    probability `top_p`, as a function of `seed`, the prompt and the position alone. `strip_reasoning` leaves thoughts
    out of responses (see `thought_marks`).

    Raises:
        ValueError: If a number is out of its range.
    """

    max_new_tokens: Count
    temperature: NotNegative = 0.0
    top_p: Annotated[float, Bounds(0, 1, above=True)] = 1.0
    seed: Seed = 0
    batch_size: Count = 64
    max_prompt_tokens: Count = 1024
    strip_reasoning: Strip = "auto"

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def describe(self) -> dict[str, object]:
        """List what the responses depend on: not the batch size; what is stripped depends on the template, too."""
        left_out = ("batch_size", "strip_reasoning")
        return {name: setting for name, setting in asdict(self).items() if name not in left_out}


@dataclass(frozen=True)
class GenerationRequest:
    """One response to generate: `coefficients` in the order of the policy's values, and a prompt."""

    coefficients: tuple[float, ...]
    prompt: Dialogue


class FiniteRows(LogitsProcessor):
    """Remember which rows had logits that are not finite, at any step; `finite` is read once, after the last step.

    The largest logit of a row is NaN or infinite as soon as any that decides a token is.
    """

    def __init__(self) -> None:
        self.finite: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Look at the scores of this step, and return them as they are. Shape: `(rows, vocabulary)`."""
        finite = torch.isfinite(scores.amax(dim=-1))
        self.finite = finite if self.finite is None else self.finite & finite
        return scores


class GumbelNoise(LogitsProcessor):
    """Make the argmax of the scores a sample from their softmax: `argmax(s + G)`, G standard Gumbel.

    The noise of a row is drawn from (seed, prompt, step) alone: a response does not depend on the batch that
    it is generated in, and all candidates answer one prompt with common random numbers.
    """

    def __init__(self, seed: int, prompts: Sequence[str]) -> None:
        self._seed = seed
        self._prompts = prompts
        self._step = 0
        self._generator = torch.Generator()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Add the noise of this step. Shape: `scores` and the result are `(rows, vocabulary)`."""
        noise = {prompt: self._draw(prompt, scores.shape[1]) for prompt in set(self._prompts)}
        self._step += 1
        return scores + torch.stack([noise[prompt] for prompt in self._prompts]).to(scores.device)

    def _draw(self, prompt: str, size: int) -> Tensor:
        self._generator.manual_seed(derive_seed(self._seed, prompt, self._step))
        return -torch.empty(size).exponential_(generator=self._generator).log()


def generate(
    policy: Policy,
    backbone: Backbone,
    requests: Sequence[GenerationRequest],
    spec: GenerationSpec,
    *,
    advance: Advance = lambda _done: None,
) -> list[str | None]:
    """Answer each request, up to the template's end of turn; None where the model's logits were not finite.

    A batch holds any mixture of candidates when the policy takes `mixed_rows`, one candidate otherwise;
    prompts of similar length stand together, the longest first. The model is put in evaluation mode.
    `advance` is called with the number of responses that were just finished.
    """
    template = backbone.template
    tokens = {
        prompt: generation_prompt_ids(prompt, template, limit=spec.max_prompt_tokens)
        for prompt in {request.prompt for request in requests}
    }
    responses: list[str | None] = [None] * len(requests)
    for batch in _batches(requests, tokens, spec.batch_size, mixed=policy.mixed_rows):
        # A response is one row, or several of which all are given the same tokens.
        rows = [(place, member) for place, k in enumerate(batch) for member in policy.members(requests[k].coefficients)]
        prompts = [requests[batch[place]].prompt for place, _ in rows]
        sampling = _sampling([prompt_id(prompt) for prompt in prompts], spec)
        if len(rows) > len(batch):
            sampling.insert(0, MixedLogProbs(rows))
        looked_at = FiniteRows()
        sampling.insert(0, looked_at)
        with policy.rows(torch.tensor([member.coefficients for _, member in rows], dtype=torch.float64)) as model:
            generated = _generate_batch(model.eval(), backbone, [tokens[p] for p in prompts], sampling, spec)
        assert looked_at.finite is not None
        broken = {place for (place, _), finite in zip(rows, looked_at.finite.tolist(), strict=True) if not finite}
        for (place, _), ids in zip(rows, generated, strict=True):
            responses[batch[place]] = None if place in broken else response_text(ids, backbone, spec.strip_reasoning)
        advance(len(batch))
    return responses


def _batches(
    requests: Sequence[GenerationRequest], tokens: Mapping[Dialogue, Sequence[int]], size: int, *, mixed: bool
) -> Iterator[list[int]]:
    groups: dict[tuple[float, ...], list[int]] = {}
    for k, request in enumerate(requests):
        groups.setdefault(() if mixed else request.coefficients, []).append(k)
    for group in groups.values():
        group.sort(key=lambda k: -len(tokens[requests[k].prompt]))
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _generate_batch(
    model: PreTrainedModel,
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    sampling: LogitsProcessorList,
    spec: GenerationSpec,
) -> list[list[int]]:
    length, pad = max(map(len, prompts)), backbone.pad_id
    input_ids = torch.tensor([[pad] * (length - len(prompt)) + list(prompt) for prompt in prompts])
    attention_mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    # Decoding is ours to define: what the model's own generation config would add is set to nothing.
    config = GenerationConfig(
        max_new_tokens=spec.max_new_tokens,
        do_sample=False,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        repetition_penalty=1.0,
        use_cache=True,
        pad_token_id=pad,
        eos_token_id=backbone.template.stop_ids,
    )
    output = model.generate(
        input_ids=input_ids.to(model.device),
        attention_mask=attention_mask.to(model.device),
        generation_config=config,
        logits_processor=sampling,
    )
    new_tokens: list[list[int]] = output[:, length:].tolist()
    return new_tokens


def _sampling(prompts: Sequence[str], spec: GenerationSpec) -> LogitsProcessorList:
    if spec.temperature == 0:
        return LogitsProcessorList()
    noise = GumbelNoise(spec.seed, prompts)
    return LogitsProcessorList([TemperatureLogitsWarper(spec.temperature), TopPLogitsWarper(spec.top_p), noise])


def response_text(ids: Sequence[int], backbone: Backbone, strip: Strip) -> str:
    """Decode what was generated, up to the end of turn and without the thought before the answer."""
    stop = set(backbone.template.stop_ids)
    end = next((k for k, token in enumerate(ids) if token in stop), len(ids))
    decode = backbone.tokenizer.decode
    marks = thought_marks(backbone.template, strip)
    if marks is None:
        return str(decode(ids[:end], skip_special_tokens=True)).strip()
    answer = without_thought(str(decode(ids[:end])), marks, is_open=thought_is_open(backbone.template, marks))
    for mark in backbone.template.control_tokens.marks:
        answer = answer.replace(mark, "")
    return answer.strip()
