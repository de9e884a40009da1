"""Win rates: each pair asked in both orders, counted over prompts, with an interval.

    win rate = (wins + ties / 2) / n,    n = wins + ties + losses

A pair is won or lost only if both orders say so; orders that disagree, or agree on a tie, are a tie. Pairs without a
verdict in either order are left out of n and counted apart. Equal texts are a tie and nobody is asked.

The interval is `mva.statistics.proportions`', which knows ties and never shrinks to a point. The verdict is on the win
rate less 1/2, in the words of `mva.statistics.verdicts`. Source of asking in both orders: Zheng et al. 2023, arXiv
2306.05685, Sec. 3.4.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mva.judging.base import Answer, Judge, Question, Verdict
from mva.pareto.front import SMALLEST_DIFFERENCE
from mva.statistics.estimate import Interval, Variance
from mva.statistics.proportions import proportion_interval
from mva.statistics.verdicts import verdict

Outcome = Literal["win", "tie", "loss"]
_OURS_FIRST: dict[Verdict, Outcome] = {"first": "win", "second": "loss", "tie": "tie"}
_TURNED = {"first": "second", "second": "first", "tie": "tie"}


@dataclass(frozen=True)
class Judged:
    """A pair's answers: with our response first, and with it second. Both are None if the texts are equal."""

    question: Question
    as_first: Answer | None
    as_second: Answer | None

    @property
    def outcome(self) -> Outcome | None:
        """Our response's outcome; None without a verdict in either order."""
        if self.as_first is None or self.as_second is None:
            return "tie"
        one, two = self.as_first.verdict, self.as_second.verdict
        if one is None or two is None:
            return None
        if one != _TURNED[two]:
            return "tie"
        return _OURS_FIRST[one]


@dataclass(frozen=True)
class WinRate:
    """Counts over prompts; `rate` and `interval` are None if no prompt has a verdict."""

    wins: int
    ties: int
    losses: int
    no_verdict: int
    identical: int

    @property
    def n(self) -> int:
        """Prompts with a verdict."""
        return self.wins + self.ties + self.losses

    @property
    def rate(self) -> float | None:
        """(wins + ties / 2) / n."""
        return (self.wins + self.ties / 2) / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval."""
        return None if self.rate is None else proportion_interval(self.wins + self.ties / 2, self.n, ties=self.ties)

    def finding(self, smallest_difference: float = SMALLEST_DIFFERENCE) -> str:
        """The verdict, of rates that differ from 1/2 by less than `smallest_difference` as no difference."""
        if self.rate is None or self.interval is None:
            return "undecided: no prompt has a verdict"
        low, high = self.interval
        # What more prompts would bring is reckoned with the variance of the outcomes, a tie's being 0.
        variance = max(self.rate * (1 - self.rate) - self.ties / self.n / 4, 1 / (4 * self.n)) / self.n
        spread = Variance(variance, 0.0, 0.0, self.n - 1, self.n, 1)
        difference = Interval(self.rate - 0.5, low - 0.5, high - 0.5, self.rate - 0.5, spread)
        return str(verdict(difference, smallest_difference=smallest_difference))


@dataclass(frozen=True)
class PositionBias:
    """How far a judge looks at places: None where there is nothing to count.

    `disagreeing` is the share of pairs whose orders disagree, `first_wins` the share of the first place among all
    decided answers (1/2 for a judge that doesn't care).
    """

    disagreeing: float | None
    first_wins: float | None


def both_orders(questions: Sequence[Question]) -> list[Question]:
    """List what is to be asked: each question of unequal texts, then its swapped counterpart."""
    unequal = [q for q in questions if q.first.text != q.second.text]
    return [order for q in unequal for order in (q, q.swapped())]


def judge_pairs(judge: Judge, questions: Sequence[Question], advance: Callable[[int], None]) -> list[Judged]:
    """Have every question (our response first) answered in both orders."""
    answers = iter(judge.compare(both_orders(questions), advance))
    return [
        Judged(q, None, None) if q.first.text == q.second.text else Judged(q, next(answers), next(answers))
        for q in questions
    ]


def win_rate(judged: Sequence[Judged]) -> WinRate:
    """Count the outcomes of pairs, one a prompt."""
    counts = Counter(one.outcome for one in judged)
    identical = sum(one.as_first is None for one in judged)
    return WinRate(counts["win"], counts["tie"], counts["loss"], counts[None], identical)


def position_bias(judged: Sequence[Judged]) -> PositionBias:
    """Measure over all pairs that were asked and have both verdicts."""
    orders = [
        (one.as_first.verdict, one.as_second.verdict)
        for one in judged
        if one.as_first is not None and one.as_second is not None and one.outcome is not None
    ]
    decided = Counter(verdict for pair in orders for verdict in pair if verdict != "tie")
    disagreeing = sum(one != _TURNED[str(two)] for one, two in orders)
    return PositionBias(
        disagreeing / len(orders) if orders else None,
        decided["first"] / decided.total() if decided else None,
    )
