"""From candidates to scored candidates: generate, reward, average, and write everything down."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from itertools import count

import numpy as np
from numpy.typing import NDArray

from mva.data.preference import Dialogue, prompt_id
from mva.data.reasoning import thought_marks
from mva.engines.base import NOT_FINITE, EngineFailure, Request, Responder, Response
from mva.engines.text import response_text
from mva.evaluation.answered import Answered
from mva.evaluation.asking import Asking, Sample
from mva.evaluation.blocks import in_blocks
from mva.evaluation.generation import GenerationSpec
from mva.evaluation.ledger import Generation, Ledger
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.models.backbone import Backbone
from mva.models.store import key_of
from mva.rewards.base import Bar, Reward, silent
from mva.rewards.scorer import Scored, Scorer, ensembles
from mva.stages import Advance

BLOCK = 256  # responses that are scored and written together

Row = tuple[Candidate, Sample]


class NonFiniteLogits(ValueError):
    """A model that computes NaN or infinity instead of logits: it has no answer."""


@dataclass(frozen=True)
class Evaluator:
    """Score candidates: `mean_p mean_s reward(prompt_p, response_ps)` per value, with standard error `sd / sqrt(n)`.

    Each candidate gives `samples` responses to a prompt. The standard deviation is that over the prompts of their
    samples' mean, or over `clusters` (labels by prompt id), where prompts come in clusters.
    Responses come from the engine in any order. They are scored and go to the ledger in blocks of `BLOCK`, in the order
    of the requests, so that a killed run loses little and a resumed one scores the same blocks. What the ledger knows
    under this evaluation's key is not generated again; identical responses to a prompt are scored once.
    `vector_keys` are the content addresses of what the responder combines, by value; `bar` opens a progress bar.

    Raises:
        ValueError: If there are fewer than two distinct prompts.
    """

    responder: Responder
    backbone: Backbone
    rewards: Mapping[str, Reward]
    _: KW_ONLY
    prompts: Sequence[Dialogue]
    split: str
    generation: GenerationSpec
    ledger: Ledger
    vector_keys: Mapping[str, str]
    samples: int = 1
    clusters: Mapping[str, str] = field(default_factory=dict)
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
                **self._asking.describe(),
                "base": self.backbone.fingerprint,
                "template": self.backbone.template.key,
                "vectors": dict(self.vector_keys),
                "rewards": {value: reward.key for value, reward in self.rewards.items()},
                "split": self.split,
                "generation": self.generation.describe(self.responder.noise),
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
        n_missing = sum(len(self._answered.missing(identifier)) for identifier in missing)
        if n_missing:
            with self.bar(f"Candidates, {self.split} prompts", n_missing) as advance:
                self._answer(self._rows(missing.values()), advance)
        return [self._scored[candidate.id] for candidate in candidates if candidate.id in self._scored]

    @cached_property
    def failed(self) -> dict[str, str]:
        """Why candidates could not be scored, by their id; none of them is ever generated again."""
        return self.ledger.failed(self.key)

    def rewards_of(self, candidate: Candidate, value: str) -> list[float]:
        """Score `candidate`, and list its rewards for `value` in the order of the prompts or clusters.

        Raises:
            NonFiniteLogits: If the candidate can't be scored.
        """
        if not self([candidate]):
            raise NonFiniteLogits(f"The candidate {candidate.id} has no scores: {self.failed[candidate.id]}.")
        rewards: list[float] = self.rewards_array(self([candidate]), [value])[0, :, 0].tolist()
        return rewards

    def rewards_array(self, scored: Sequence[ScoredCandidate], values: Sequence[str]) -> NDArray[np.float64]:
        """The rewards behind scores, means over samples. Shape: `(n_candidates, n_prompts or n_clusters, n_values)`."""
        rows = [self._answered.values.index(value) for value in values]
        rewards = np.empty((len(scored), len(self._prompts), len(rows)))
        for candidate, plane in zip(scored, rewards, strict=True):
            plane[:] = self._answered.rewards(candidate.candidate.id)[rows].T
        return self._asking.clustered(rewards)

    @cached_property
    def _prompts(self) -> dict[str, Dialogue]:
        return {prompt_id(prompt): prompt for prompt in self.prompts}

    @cached_property
    def _asking(self) -> Asking:
        return Asking(self._prompts, self.samples, self.clusters, self.generation, self.backbone.template)

    @cached_property
    def _scored(self) -> dict[str, ScoredCandidate]:
        return self.ledger.scored(self.key)

    @cached_property
    def _answered(self) -> Answered:
        answered = Answered(list(self.rewards), self._asking.all, ensembles(self.rewards))
        for line in self.ledger.generations(self.key):
            answered.add(line.candidate, Sample(prompt_id(line.prompt), line.sample), line.rewards, line.disagreement)
            self._scorer.remember((line.prompt, line.response), Scored(line.rewards, line.disagreement))
        return answered

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self.rewards)

    @cached_property
    def _seconds(self) -> defaultdict[str, float]:
        return defaultdict(float)

    def _rows(self, candidates: Iterable[Candidate]) -> Iterator[Row]:
        """List what is to be asked for, candidate after candidate, as it is needed."""
        for candidate in candidates:
            for sample in self._answered.missing(candidate.id):
                yield candidate, sample

    def _answer(self, rows: Iterable[Row], advance: Advance) -> None:
        """Ask the engine, and record its responses block after block."""
        asked: dict[int, Row] = {}  # and not yet recorded
        identifiers = count()

        def requests() -> Iterator[Request]:
            for candidate, sample in rows:
                if candidate.id not in self.failed:
                    identifier = next(identifiers)
                    asked[identifier] = candidate, sample
                    yield self._asking.request(identifier, candidate.vector(self.responder.values), sample)

        def responses() -> Iterator[Response]:
            for response in self.responder.answer(requests(), self.generation.decoding(self.backbone.template)):
                advance(1)
                yield response

        start = time.perf_counter()
        for block in in_blocks(responses(), BLOCK):
            answered = [(asked.pop(response.id), response) for response in block]
            self._record(answered)
            now = time.perf_counter()
            candidates = [candidate for (candidate, _), _ in answered]
            for candidate in candidates:
                self._seconds[candidate.id] += (now - start) / len(block)
            self._settle({candidate.id: candidate for candidate in candidates}.values())
            start = now

    def _record(self, block: Sequence[tuple[Row, Response]]) -> None:
        """Score a block of responses, unless the engine has, and write it down."""
        answered = [
            (*row, response_text(response.tokens, self.backbone, self.generation.strip_reasoning), response.scored)
            for row, response in block
            if not response.failure
        ]
        new = iter(self._scorer([(self._prompts[s.prompt], text) for _, s, text, scored in answered if not scored]))
        generations = [
            Generation(
                candidate.id,
                self._prompts[sample.prompt],
                text,
                **(scored or next(new))._asdict(),
                split=self.split,
                sample=sample.number,
                cluster=self.clusters.get(sample.prompt, ""),
            )
            for candidate, sample, text, scored in answered
        ]
        self.ledger.add_generations(generations, key=self.key)
        for (candidate, sample, _, _), line in zip(answered, generations, strict=True):
            self._answered.add(candidate.id, sample, line.rewards, line.disagreement)
        for (candidate, _), response in block:
            if response.failure and candidate.id not in self.failed:
                self._fail(candidate, response.failure)

    def _fail(self, candidate: Candidate, reason: str) -> None:
        if not any(candidate.coefficients.values()):
            if reason == NOT_FINITE:
                raise NonFiniteLogits(
                    f"{self.backbone.name} without any vector computes logits that are not finite: check its weights "
                    "and model.dtype."
                )
            raise EngineFailure(f"{self.backbone.name} without any vector gives no answer: {reason}.")
        self.ledger.add_failed(candidate, reason, split=self.split, key=self.key)
        self.failed[candidate.id] = reason

    def _settle(self, candidates: Collection[Candidate]) -> None:
        """Score the candidates all of whose responses are there."""
        unsettled = [each for each in candidates if each.id not in self._scored and each.id not in self.failed]
        settled = [self._mean(candidate) for candidate in unsettled if self._answered.whole(candidate.id)]
        self.ledger.add_scored(settled, key=self.key)
        self._scored.update({scored.candidate.id: scored for scored in settled})

    def _mean(self, candidate: Candidate) -> ScoredCandidate:
        clustered = self._asking.clustered(self._answered.rewards(candidate.id).T[None])[0]
        by_value = dict(zip(self._answered.values, clustered.T, strict=True))
        return ScoredCandidate(
            candidate=candidate,
            scores={value: float(x.mean()) for value, x in by_value.items()},
            standard_errors={value: float(x.std(ddof=1) / len(x) ** 0.5) for value, x in by_value.items()},
            n_prompts=len(clustered),
            split=self.split,
            seconds=self._seconds[candidate.id],
            disagreement=self._answered.mean_disagreement(candidate.id),
        )
