"""Win rates: each pair asked in both orders, counted over prompts, with an interval.

    win rate = (wins + ties / 2) / n,    n = wins + ties + losses

A pair is won or lost only if both orders say so; orders that disagree, or agree on a tie, are a tie. Pairs without a
verdict in either order are left out of n and counted apart. Equal texts are a tie and nobody is asked.

The 95 % interval is Wilson's score interval with the win rate p as the proportion:

    (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),    z = 1.96

An outcome in {0, 1/2, 1} with mean p has a variance of at most p (1 - p): with ties the interval is too wide rather
than too narrow, and it never shrinks to a point, as a bootstrap of few or unanimous prompts does.
Source: Wilson 1927, J. Am. Stat. Assoc. 22; asking in both orders: Zheng et al. 2023, arXiv 2306.05685, Sec. 3.4.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from scipy.stats import norm

from mva.judging.base import Answer, Judge, Question, Verdict
from mva.pareto.bootstrap import MINIMUM_PROMPTS

Outcome = Literal["win", "tie", "loss"]
Finding = Literal["better", "worse", "no difference seen", "no verdict: too few prompts"]
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
        return None if self.rate is None else wilson(self.rate, self.n)

    @property
    def finding(self) -> Finding:
        """What may be said: something only if the interval leaves out 1/2 and there are `MINIMUM_PROMPTS` prompts."""
        if self.interval is None or self.n < MINIMUM_PROMPTS:
            return "no verdict: too few prompts"
        low, high = self.interval
        return "better" if low > 0.5 else "worse" if high < 0.5 else "no difference seen"


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


def wilson(rate: float, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Bound a proportion by Wilson's score interval."""
    z = float(norm.isf((1 - level) / 2))
    centre, half = rate + z * z / (2 * n), z * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))
