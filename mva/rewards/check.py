"""Rewards on labelled pairs of any kind: agreement, what length alone says, and what is left without length."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mva.data.checks import longer_is_chosen
from mva.data.labelled import LabelledPairs
from mva.data.preference import PreferencePair, ValueData
from mva.rewards.agreement import Agreement, agreement_of, held_out_accuracy, outcomes, score_pairs
from mva.rewards.base import Reward
from mva.rewards.length import Length
from mva.stages import Advance
from mva.statistics.length_balance import Balanced, balanced_agreement

OWN = "own held-out pairs"


@dataclass(frozen=True)
class RewardCheck:
    """A value's reward on the pairs of a source.

    `length` is the agreement of length alone: of "longer is better" or "shorter is better" (`prefers`), whichever the
    value's training pairs say. `balanced` is the reward's agreement with length taken out
    (`mva.statistics.length_balance`). `left_out` counts the source's pairs whose prompts the value is trained on; `own`
    says that the pairs are the value's held-out ones.
    """

    value: str
    source: str
    own: bool
    agreement: Agreement
    prefers: Literal["longer", "shorter"]
    length: Agreement
    balanced: Balanced | None
    left_out: int

    @property
    def survives(self) -> float | None:
        """The share of the agreement beyond chance that is left without length.

            (balanced - 1/2) / (agreement - 1/2)

        None where length can't be taken out, or the interval of the agreement holds 1/2: there is nothing to share.
        """
        if self.balanced is None or self.agreement.low <= 0.5 <= self.agreement.high:
            return None
        return (self.balanced.accuracy - 0.5) / (self.agreement.accuracy - 0.5)

    def to_json(self) -> dict[str, Any]:
        """Describe the check as a record of `rewards.json`."""
        return {
            "value": self.value,
            "source": self.source,
            "own": self.own,
            **asdict(self.agreement),
            "left_out": self.left_out,
            "length": {"prefers": self.prefers, **asdict(self.length)},
            "balanced": None if self.balanced is None else asdict(self.balanced),
            "survives": self.survives,
        }


def check_rewards(
    rewards: Mapping[str, Reward],
    data: Mapping[str, ValueData],
    sources: Sequence[LabelledPairs] = (),
    *,
    limit: int | None = None,
    advance: Advance = lambda _done: None,
) -> Iterator[RewardCheck]:
    """Check each reward on at most `limit` held-out pairs of its value, then on every source that labels that value.

    `advance` is called with 1 for each check.

    Raises:
        ValueError: If a value has no held-out pairs, or a source none whose prompts the value is not trained on.
    """
    for value, reward in rewards.items():
        pairs = [*data[value].validation, *data[value].test][:limit]
        yield _check(LabelledPairs(OWN, tuple(pairs), value), data[value], score_pairs(reward, pairs), own=True)
        advance(1)
    # All rewards score a source's pairs in turn: heads of one backbone then read its features once.
    for source in sources:
        for value in rewards if source.value is None else [source.value]:
            yield _check(source, data[value], score_pairs(rewards[value], source.pairs))
            advance(1)


def number_of_checks(values: Sequence[str], sources: Sequence[LabelledPairs]) -> int:
    """Count what `check_rewards` will yield."""
    return len(values) + sum(len(values) if source.value is None else 1 for source in sources)


def _check(source: LabelledPairs, data: ValueData, scores: Tensor, *, own: bool = False) -> RewardCheck:
    unseen = source.unseen_by(data)
    pairs = [pair for pair, is_new in zip(source.pairs, unseen, strict=True) if is_new]
    scores = scores[torch.tensor(unseen)]
    longer = longer_is_chosen(data.train) >= 0.5
    return RewardCheck(
        value=data.value,
        source=source.name,
        own=own,
        agreement=agreement_of(scores),
        prefers="longer" if longer else "shorter",
        length=held_out_accuracy(Length(sign=1 if longer else -1), pairs),
        balanced=balanced_agreement(outcomes(scores).numpy(), [_log_ratio(pair) for pair in pairs]),
        left_out=len(source.pairs) - len(pairs),
    )


def _log_ratio(pair: PreferencePair) -> float:
    """How much longer the chosen response is, in words (at least one): the logarithm of the ratio."""
    chosen, rejected = (max(1, len(response.split())) for response in (pair.chosen, pair.rejected))
    return math.log(chosen / rejected)
