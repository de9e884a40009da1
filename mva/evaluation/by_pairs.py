"""From candidates to scored candidates without a response: held-out preference pairs and the implicit reward.

    score = mean over the value's pairs of log sigmoid(beta * margin)          (margin: mva/evaluation/pair_margins.py)

No reward model and no sampling have a part in it. The base, which is the reference policy, has the margin 0 on every
pair, the score log sigmoid(0) and the accuracy 1/2.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import groupby, islice

import numpy as np
import torch
from torch import Tensor

from mva.engines.base import NOT_FINITE
from mva.evaluation.evaluator import NonFiniteLogits
from mva.evaluation.ledger import Ledger
from mva.evaluation.pair_log_probs import log_prob_differences
from mva.evaluation.pair_margins import Floats, MarginLedger, Stretch, accuracy, utilities
from mva.evaluation.pair_sets import Pairs, check_pairs, pair_keys, prompt_of
from mva.extrapolation.candidate import Candidate, ScoredCandidate
from mva.models.backbone import Backbone
from mva.models.reference import reference_log_probs
from mva.models.store import Store, key_of
from mva.policies.base import Policy
from mva.rewards.base import Bar, silent
from mva.stages import Advance
from mva.statistics.unshared import by_prompt, on_all_prompts

BLOCK = 256  # margins that are computed and written together


@dataclass(frozen=True, slots=True)
class Item:
    """A pair that a candidate is to be scored on: its value, and its number among the value's pairs."""

    candidate: Candidate
    value: str
    number: int


@dataclass(frozen=True)
class PairEvaluator:
    """Score candidates by pairs; called as `Evaluator` is (see `CandidateEvaluator`).

    `pairs` are each value's, all of `split`, each made from text. Standard errors take a prompt's pairs together. What
    the ledger knows under this evaluation's key is never computed again; margins are written in blocks of `BLOCK`.
    `vector_keys` are the content addresses of the policy's vectors, by name; `bar` opens a progress bar over pairs.

    Raises:
        ValueError: If a value has pairs on fewer than two prompts.
    """

    policy: Policy
    backbone: Backbone
    pairs: Pairs
    _: KW_ONLY
    split: str
    beta: float
    store: Store
    ledger: Ledger
    vector_keys: Mapping[str, str]
    bar: Bar = silent

    def __post_init__(self) -> None:
        check_pairs(self.pairs, self.split)

    @cached_property
    def key(self) -> str:
        """Content address of the evaluation: everything that scores depend on but the candidate."""
        measures = pair_keys(self.pairs, base=self.backbone.fingerprint, beta=self.beta)
        return key_of({"by": "pairs", "values": measures, "vectors": dict(self.vector_keys), "split": self.split})

    def __call__(self, candidates: Sequence[Candidate]) -> list[ScoredCandidate]:
        """Score `candidates`, in their order; those that fail (see `failed`) are left out."""
        self.ledger.declare(self.split, self.key)
        known = self._scored.keys() | self.failed.keys()
        missing = {candidate.id: candidate for candidate in candidates if candidate.id not in known}
        self._settle(missing.values())
        items = [item for candidate in missing.values() for item in self._missing(candidate)]
        if items:
            with self.bar(f"Candidates, {self.split} pairs", len(items)) as advance:
                self._measure(items, advance)
        return [self._scored[candidate.id] for candidate in candidates if candidate.id in self._scored]

    @cached_property
    def failed(self) -> dict[str, str]:
        """Why candidates could not be scored, by their id; none of them is ever tried again."""
        return self.ledger.failed(self.key)

    def rewards_of(self, candidate: Candidate, value: str) -> list[float]:
        """Score `candidate`, and list what each of the value's prompts adds to the score; their mean is the score.

        Raises:
            NonFiniteLogits: If the candidate can't be scored.
        """
        if not self([candidate]):
            raise NonFiniteLogits(f"The candidate {candidate.id} has no scores: {self.failed[candidate.id]}.")
        means, _ = self._by_prompt([candidate.id], value)
        return list(map(float, means[0]))

    def rewards_array(self, scored: Sequence[ScoredCandidate], values: Sequence[str]) -> Floats:
        """What stands behind the scores, on the prompts of all values (`mva/statistics/unshared.py`).

        Shape: `(n_candidates, n_prompts, n_values)`.
        """
        ids = [each.candidate.id for each in scored]
        return on_all_prompts([self._by_prompt(ids, value) for value in values])

    @cached_property
    def _scored(self) -> dict[str, ScoredCandidate]:
        return self.ledger.scored(self.key)

    @cached_property
    def _lines(self) -> MarginLedger:
        return MarginLedger(self.ledger.folder)

    @cached_property
    def _margins(self) -> defaultdict[str, dict[str, Floats]]:
        """The margins that are there, by candidate and value; NaN where there is none yet."""
        margins: defaultdict[str, dict[str, Floats]] = defaultdict(self._unknown)
        for stretch in self._lines.read(self.key):
            _note(margins, stretch)
        return margins

    @cached_property
    def _prompt_ids(self) -> dict[str, list[str]]:
        return {value: [prompt_of(pair) for pair in pairs] for value, pairs in self.pairs.items()}

    @cached_property
    def _reference(self) -> dict[str, Tensor]:
        """The reference policy's `log pi(chosen) - log pi(rejected)` of each pair, by value."""
        differences = {}
        for value, pairs in self.pairs.items():
            what = f"the reference log-probs of the {self.split} pairs of '{value}'"
            chosen, rejected = reference_log_probs(self.backbone, pairs, self.store, what=what).double().unbind(1)
            differences[value] = chosen - rejected
        return differences

    @cached_property
    def _seconds(self) -> defaultdict[str, float]:
        return defaultdict(float)

    def _unknown(self) -> dict[str, Floats]:
        return {value: np.full(len(pairs), np.nan) for value, pairs in self.pairs.items()}

    def _by_prompt(self, ids: Sequence[str], value: str) -> tuple[Floats, tuple[str, ...]]:
        margins = np.stack([self._margins[identifier][value] for identifier in ids])
        return by_prompt(utilities(margins, self.beta), self._prompt_ids[value])

    def _missing(self, candidate: Candidate) -> Iterator[Item]:
        for value, margins in self._margins[candidate.id].items():
            for number in np.flatnonzero(np.isnan(margins)).tolist():
                yield Item(candidate, value, number)

    def _measure(self, items: Sequence[Item], advance: Advance) -> None:
        """Compute block after block; each is on the disk before the next begins."""
        start = time.perf_counter()
        for block in self._blocks(items):
            margins = self._margins_of(block)
            self._record(block, margins)
            now = time.perf_counter()
            for item in block:
                self._seconds[item.candidate.id] += (now - start) / len(block)
            self._settle({item.candidate.id: item.candidate for item in block}.values())
            advance(len(block))
            start = now

    def _blocks(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """Cut items into blocks; where the policy answers one candidate at a time, each is of one candidate."""
        groups: Iterable[Iterable[Item]] = [items]
        if not self.policy.mixed_rows:
            groups = (group for _, group in groupby(items, key=lambda item: item.candidate.id))
        for group in groups:
            waiting = (item for item in group if item.candidate.id not in self.failed)
            while block := list(islice(waiting, BLOCK)):
                yield block

    def _margins_of(self, block: Sequence[Item]) -> list[float]:
        """Compute margins; a candidate that is not finite is asked again alone, so that it takes no other along."""
        margins = self._computed(block)
        suspects = {item.candidate.id for item, x in zip(block, margins, strict=True) if not np.isfinite(x)}
        for suspect in suspects:
            places = [k for k, item in enumerate(block) if item.candidate.id == suspect]
            for place, margin in zip(places, self._computed([block[k] for k in places]), strict=True):
                margins[place] = margin
        return margins

    def _computed(self, block: Sequence[Item]) -> list[float]:
        margins = np.zeros(len(block))  # the base's are exactly 0: it is the reference policy
        places = [k for k, item in enumerate(block) if any(item.candidate.coefficients.values())]
        if places:
            adapted = [block[k] for k in places]
            coefficients = torch.tensor([item.candidate.vector(self.policy.values) for item in adapted])
            pairs = [self.pairs[item.value][item.number] for item in adapted]
            reference = torch.stack([self._reference[item.value][item.number] for item in adapted])
            margins[places] = log_prob_differences(self.policy, self.backbone, pairs, coefficients) - reference
        return list(map(float, margins))

    def _record(self, block: Sequence[Item], margins: Sequence[float]) -> None:
        stretches = []
        together = groupby(zip(block, margins, strict=True), key=lambda entry: (entry[0].candidate.id, entry[0].value))
        for (candidate, value), entries in together:
            numbers, numbered = zip(*((item.number, margin) for item, margin in entries), strict=True)
            identifiers = [self._prompt_ids[value][number] for number in numbers]
            stretches.append(Stretch(candidate, value, numbers[0], identifiers, numbered))
        broken = {stretch.candidate for stretch in stretches if not np.isfinite(stretch.margins).all()}
        finite = [stretch for stretch in stretches if stretch.candidate not in broken]
        self._lines.add(finite, split=self.split, beta=self.beta, key=self.key)
        for stretch in finite:
            _note(self._margins, stretch)
        for candidate in {item.candidate.id: item.candidate for item in block if item.candidate.id in broken}.values():
            self.ledger.add_failed(candidate, NOT_FINITE, split=self.split, key=self.key)
            self.failed[candidate.id] = NOT_FINITE

    def _settle(self, candidates: Collection[Candidate]) -> None:
        """Score the candidates all of whose margins are there."""
        open_ones = [each for each in candidates if each.id not in self._scored and each.id not in self.failed]
        settled = [self._mean(each) for each in open_ones if next(self._missing(each), None) is None]
        self.ledger.add_scored(settled, key=self.key)
        self._scored.update({scored.candidate.id: scored for scored in settled})

    def _mean(self, candidate: Candidate) -> ScoredCandidate:
        by_value = {value: self._by_prompt([candidate.id], value)[0][0] for value in self.pairs}
        return ScoredCandidate(
            candidate=candidate,
            scores={value: float(x.mean()) for value, x in by_value.items()},
            standard_errors={value: float(x.std(ddof=1) / len(x) ** 0.5) for value, x in by_value.items()},
            n_prompts=min(len(x) for x in by_value.values()),
            split=self.split,
            seconds=self._seconds[candidate.id],
            accuracies={value: accuracy(self._margins[candidate.id][value]) for value in self.pairs},
        )


def _note(margins: Mapping[str, dict[str, Floats]], stretch: Stretch) -> None:
    end = stretch.first + len(stretch.margins)
    margins[stretch.candidate][stretch.value][stretch.first : end] = stretch.margins
