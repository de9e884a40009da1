"""Base and candidate answer the same prompt, token by token, as two rows of one batch.

The vectors stand beside the base as one LoRA with coefficients per row (`models/coefficient_lora.py`): other
coefficients are another gate, so that nothing is loaded or merged between two answers.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from mva.composition.linear import Linear
from mva.data.preference import Dialogue, prompt_id
from mva.data.tokenization import generation_prompt_ids
from mva.engines.base import Decoding
from mva.engines.sampling import choose, finite
from mva.engines.text import response_text
from mva.evaluation.generation import GenerationSpec
from mva.extrapolation.space import CoefficientSpace
from mva.models.backbone import Backbone
from mva.models.value_vector import ValueVector
from mva.policies.per_row import PerRowPolicy

_NOT_FINITE = "The model's logits are not finite with these coefficients: choose smaller ones."
_UNFINISHED = "\ufffd"  # a character of which only the first bytes are there yet


@dataclass(frozen=True)
class Answers:
    """What base and candidate have said so far, in `tokens` steps.

    `finished` says which of the two is complete, `error` why no more will come: logits that are not finite.
    """

    base: str
    candidate: str
    tokens: int
    finished: tuple[bool, bool]
    error: str = ""


class Speaker:
    """A backbone with a run's vectors, answering with any coefficients of `space`.

    One answer at a time: while one is under way the model is gated. Closing the iterator of `answers` opens it again.

    Raises:
        ValueError: If a vector was trained on another backbone, or `space` names other vectors.
    """

    def __init__(
        self, backbone: Backbone, vectors: Sequence[ValueVector], space: CoefficientSpace, spec: GenerationSpec
    ) -> None:
        if tuple(vector.value for vector in vectors) != space.values:
            raise ValueError(f"The space of {space.values} has other vectors than {[v.value for v in vectors]}.")
        self.backbone, self.space, self.spec = backbone, space, spec
        self._policy = PerRowPolicy().build(backbone, vectors, Linear())

    def n_prompt_tokens(self, prompt: Dialogue) -> int:
        """Count the prompt's tokens, with those of the template."""
        return len(self.backbone.template.prompt_ids(prompt))

    def answers(self, prompt: Dialogue, coefficients: Sequence[float]) -> Generator[Answers, None, None]:
        """Yield after every token what both have said so far; the last is what an engine gives.

        `coefficients` stand in the order of the space's values. Both rows see the same noise when tokens are sampled.
        """
        ids = generation_prompt_ids(prompt, self.backbone.template, limit=self.spec.max_prompt_tokens)
        seed = self.spec.seed_of(prompt_id(prompt))
        rows = torch.tensor([[0.0] * len(self.space.values), list(coefficients)], dtype=torch.float64)
        said: tuple[list[int], list[int]] = ([], [])
        with self._policy.rows(rows) as model:
            for tokens in _decode(model.eval(), ids, self.spec.decoding(self.backbone.template), seed):
                if tokens is None:
                    n_steps = max(map(len, said))
                    yield Answers(self._text(said[0]), self._text(said[1]), n_steps, (True, True), _NOT_FINITE)
                    return
                for row, token in zip(said, tokens, strict=True):
                    if not self._ended(row):
                        row.append(token)
                base, candidate = self._ended(said[0]), self._ended(said[1])
                yield Answers(self._text(said[0]), self._text(said[1]), max(map(len, said)), (base, candidate))
                if base and candidate:
                    return

    def _ended(self, row: Sequence[int]) -> bool:
        return len(row) == self.spec.max_new_tokens or row[-1:] in [[stop] for stop in self.backbone.template.stop_ids]

    def _text(self, row: Sequence[int]) -> str:
        text = response_text(row, self.backbone, self.spec.strip_reasoning)
        return text if self._ended(row) else text.rstrip(_UNFINISHED)


def _decode(model: PreTrainedModel, prompt: Sequence[int], decoding: Decoding, seed: int) -> Iterator[list[int] | None]:
    """Yield the two rows' next tokens, or None where a row's logits are not finite.

    The rows share the prompt, so that nothing is padded.
    """
    step = torch.tensor([list(prompt)] * 2, device=model.device)
    seeds = torch.tensor([seed] * 2, device=model.device)
    cache: Any = None
    for n_tokens in range(decoding.max_new_tokens):
        # Per step: grad mode belongs to a thread, and a generator may be resumed in another one.
        with torch.no_grad():
            output = model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            logits = output.logits[:, -1]
            usable = bool(finite(logits).all())
            step = choose(logits, seeds, torch.full_like(seeds, n_tokens), decoding)[:, None]
        if not usable:
            yield None
            return
        yield step[:, 0].tolist()
