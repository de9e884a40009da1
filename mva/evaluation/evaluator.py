"""From candidates to scored candidates: generate, reward, average, and write everything down."""

import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mva.data.preference import Dialogue, prompt_id
from mva.data.reasoning import thought_marks
from mva.evaluation.generation import GenerationRequest, GenerationSpec, generate
from mva.evaluation.ledger import Generation, Ledger
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.models.backbone import Backbone
from mva.models.store import key_of
from mva.policies.base import Policy
from mva.rewards.base import Bar, Reward, silent
from mva.stages import Advance

_BATCHES_PER_CHUNK = 4

Text = tuple[Dialogue, str]
Row = tuple[Candidate, Dialogue]

NOT_FINITE = "the model's logits are not finite with these coefficients"


class NonFiniteLogits(ValueError):
    """A model that computes NaN or infinity instead of logits: it has no answer."""


class NonFiniteReward(ValueError):
    """A reward that is NaN or infinite: no score can be made of it."""


@dataclass(frozen=True)
class Evaluator:
    """Score candidates: `mean_k reward(prompt_k, response_k)` per value, with standard error `sd / sqrt(n)`.

    Responses are generated for many candidates a batch, and go to the ledger with their rewards every few
    batches, so that a killed run loses little; what the ledger knows under this evaluation's key is never
    generated again, and identical responses to a prompt are scored once. `vector_keys` are the content
    addresses of what the policy combines, by value; `bar(description, total)` opens a progress bar over
    responses.

    Raises:
        ValueError: If there are fewer than two distinct prompts.
    """

    policy: Policy
    backbone: Backbone
    rewards: Mapping[str, Reward]
    _: KW_ONLY
    prompts: Sequence[Dialogue]
    split: str
    generation: GenerationSpec
    ledger: Ledger
    vector_keys: Mapping[str, str]
    bar: Bar = silent

    def __post_init__(self) -> None:
        if len(set(self.prompts)) < 2:
            raise ValueError(
                f"Only {len(set(self.prompts))} distinct {self.split} prompts; a standard error needs "
                f"at least two: give more data or raise evaluation.n_{self.split}_prompts."
            )

    @cached_property
    def key(self) -> str:
        """Content address of the evaluation: everything that scores depend on but the candidate."""
        marks = thought_marks(self.backbone.template, self.generation.strip_reasoning)
        stripped = {} if marks is None else {"thoughts": list(marks)}
        return key_of(
            {
                **stripped,
                "base": self.backbone.fingerprint,
                "template": self.backbone.template.key,
                "vectors": dict(self.vector_keys),
                "rewards": {value: reward.key for value, reward in self.rewards.items()},
                "prompts": list(self._prompts),
                "split": self.split,
                "generation": self.generation.describe(),
            }
        )

    def __call__(self, candidates: Sequence[Candidate]) -> list[ScoredCandidate]:
        """Score `candidates`, in their order; those that fail (see `failed`) are left out.

        Raises:
            NonFiniteReward: If a reward is NaN or infinite.
            NonFiniteLogits: If the base model itself fails.
        """
        self.ledger.declare(self.split, self.key)
        known = self._scored.keys() | self.failed.keys()
        missing = {candidate.id: candidate for candidate in candidates if candidate.id not in known}
        self._settle(missing.values())
        rows = [
            (candidate, prompt)
            for candidate in missing.values()
            for identifier, prompt in self._prompts.items()
            if (candidate.id, identifier) not in self._generations
        ]
        with self.bar(f"Candidates, {self.split} prompts", len(rows)) as advance:
            for chunk in self._chunks(rows):
                self._answer([row for row in chunk if row[0].id not in self.failed], advance)
                self._settle({candidate.id: candidate for candidate, _ in chunk}.values())
        return [self._scored[candidate.id] for candidate in candidates if candidate.id in self._scored]

    @cached_property
    def failed(self) -> dict[str, str]:
        """Why candidates could not be scored, by their id; none of them is ever generated again."""
        return self.ledger.failed(self.key)

    def rewards_of(self, candidate: Candidate, value: str) -> list[float]:
        """Score `candidate`, and list its responses' rewards for `value` in the order of the prompts.

        Raises:
            NonFiniteLogits: If the candidate can't be scored.
        """
        if not self([candidate]):
            raise NonFiniteLogits(f"The candidate {candidate.id} has no scores: {self.failed[candidate.id]}.")
        return [self._generations[candidate.id, identifier].rewards[value] for identifier in self._prompts]

    def rewards_array(self, scored: Sequence[ScoredCandidate], values: Sequence[str]) -> NDArray[np.float64]:
        """The rewards behind scores. Shape: `(n_candidates, n_prompts, n_values)`."""
        rows = [
            [self._generations[candidate.candidate.id, identifier].rewards for identifier in self._prompts]
            for candidate in scored
        ]
        return np.array([[[rewards[value] for value in values] for rewards in row] for row in rows])

    @cached_property
    def _prompts(self) -> dict[str, Dialogue]:
        return {prompt_id(prompt): prompt for prompt in self.prompts}

    @cached_property
    def _scored(self) -> dict[str, ScoredCandidate]:
        return self.ledger.scored(self.key)

    @cached_property
    def _generations(self) -> dict[tuple[str, str], Generation]:
        return self.ledger.generations(self.key)

    @cached_property
    def _known_rewards(self) -> dict[Text, Mapping[str, float]]:
        return {(known.prompt, known.response): known.rewards for known in self._generations.values()}

    @cached_property
    def _seconds(self) -> defaultdict[str, float]:
        return defaultdict(float)

    def _chunks(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        # A policy that holds one candidate at a time had better finish it before the next.
        size = _BATCHES_PER_CHUNK * self.generation.batch_size if self.policy.mixed_rows else len(self._prompts)
        return (rows[start : start + size] for start in range(0, len(rows), size))

    def _answer(self, rows: Sequence[Row], advance: Advance) -> None:
        """Generate, score and record one chunk."""
        if not rows:
            return
        start = time.perf_counter()
        requests = [GenerationRequest(candidate.vector(self.policy.values), prompt) for candidate, prompt in rows]
        responses = generate(self.policy, self.backbone, requests, self.generation, advance=advance)
        answered = [(*row, text) for row, text in zip(rows, responses, strict=True) if text is not None]
        self._score([(prompt, response) for _, prompt, response in answered])
        generations = [
            Generation(candidate.id, prompt, response, self._known_rewards[prompt, response], self.split)
            for candidate, prompt, response in answered
        ]
        self.ledger.add_generations(generations, key=self.key)
        self._fail({row[0].id: row[0] for row, text in zip(rows, responses, strict=True) if text is None}.values())
        seconds = (time.perf_counter() - start) / len(rows)
        for generation in generations:
            self._generations[generation.candidate, prompt_id(generation.prompt)] = generation
            self._seconds[generation.candidate] += seconds

    def _fail(self, candidates: Iterable[Candidate]) -> None:
        for candidate in candidates:
            if not any(candidate.coefficients.values()):
                raise NonFiniteLogits(
                    f"{self.backbone.name} without any vector computes logits that are not finite: check its weights "
                    "and model.dtype."
                )
            self.ledger.add_failed(candidate, NOT_FINITE, split=self.split, key=self.key)
            self.failed[candidate.id] = NOT_FINITE

    def _score(self, texts: Sequence[Text]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._known_rewards]
        if not new:
            return
        prompts, responses = zip(*new, strict=True)
        columns = {value: reward.score(prompts, responses).tolist() for value, reward in self.rewards.items()}
        for k, text in enumerate(new):
            rewards = {value: column[k] for value, column in columns.items()}
            self._known_rewards[text] = _finite(rewards, text)

    def _settle(self, candidates: Collection[Candidate]) -> None:
        """Score the candidates all of whose responses are there."""
        settled = []
        for candidate in candidates:
            known = [self._generations.get((candidate.id, identifier)) for identifier in self._prompts]
            if candidate.id not in self._scored and candidate.id not in self.failed and None not in known:
                settled.append(self._mean(candidate, [one.rewards for one in known if one is not None]))
        self.ledger.add_scored(settled, key=self.key)
        self._scored.update({one.candidate.id: one for one in settled})

    def _mean(self, candidate: Candidate, rewards: Sequence[Mapping[str, float]]) -> ScoredCandidate:
        by_value = {value: np.array([row[value] for row in rewards]) for value in self.rewards}
        return ScoredCandidate(
            candidate=candidate,
            scores={value: float(x.mean()) for value, x in by_value.items()},
            standard_errors={value: float(x.std(ddof=1) / len(x) ** 0.5) for value, x in by_value.items()},
            n_prompts=len(rewards),
            split=self.split,
            seconds=self._seconds[candidate.id],
        )


def _finite(rewards: Mapping[str, float], text: Text) -> Mapping[str, float]:
    for value, reward in rewards.items():
        if not math.isfinite(reward):
            prompt, response = text
            raise NonFiniteReward(
                f"The reward of '{value}' is {reward} for the response {response[:80]!r} to the prompt "
                f"{prompt_id(prompt)} ({prompt[-1].content[:80]!r}): mend the reward or leave the prompt out."
            )
    return rewards
