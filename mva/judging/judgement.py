"""What a judge found, as judgement.json and as a table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mva.judging.pairing import SPLIT
from mva.judging.win_rate import Judged, WinRate, position_bias, win_rate
from mva.pareto.front import SMALLEST_DIFFERENCE
from mva.records import SCHEMA_VERSION
from mva.statistics.comparison import chance_line


@dataclass(frozen=True)
class Match:
    """A candidate's pairs with its opponent, of all values. `label` says its coefficients."""

    candidate: str
    label: str
    opponent: str
    judged: Sequence[Judged]

    def win_rates(self) -> dict[str, WinRate]:
        """Count by value."""
        values = dict.fromkeys(one.question.value for one in self.judged)
        return {value: win_rate([one for one in self.judged if one.question.value == value]) for value in values}


@dataclass(frozen=True)
class Judgement:
    """All matches of one judge.

    `against` is "base" or the other run's folder; win rates closer to 1/2 than `smallest_difference` do not matter.
    """

    judge: Mapping[str, object]
    against: str
    matches: Sequence[Match]
    smallest_difference: float = SMALLEST_DIFFERENCE

    def to_json(self) -> dict[str, Any]:
        """Describe it as plain data: the content of judgement.json."""
        results = [
            {"candidate": match.candidate, "opponent": match.opponent, "value": value, **self._counts(rate)}
            for match in self.matches
            for value, rate in match.win_rates().items()
        ]
        return {
            "schema_version": SCHEMA_VERSION,
            "judge": dict(self.judge),
            "against": self.against,
            "split": SPLIT,
            "interval": "score interval with ties, 95 %, over prompts",
            "smallest_difference": self.smallest_difference,
            "position_bias": asdict(position_bias(self._judged())),
            "problems": self.problems(),
            "results": results,
        }

    def problems(self) -> dict[str, int]:
        """Count, by what went wrong, the answers that hold no verdict."""
        answers = (answer for one in self._judged() for answer in (one.as_first, one.as_second))
        return dict(Counter(answer.problem for answer in answers if answer is not None and answer.verdict is None))

    def table(self) -> RenderableType:
        """Lay out the win rates, the position bias and what went wrong."""
        against = "the base" if self.against == "base" else self.against
        table = Table(title=Text(f"Win rate against {against}, on held-out prompts"), title_justify="left")
        table.add_column("candidate", no_wrap=True)
        table.add_column("coefficients")
        table.add_column("value")
        table.add_column("win rate (95 %)", justify="right")
        table.add_column("won/tied/lost", justify="right")
        table.add_column("verdict")
        for match in self.matches:
            names = (match.candidate, match.label)
            for value, rate in match.win_rates().items():
                counts = f"{rate.wins}/{rate.ties}/{rate.losses}"
                missing = f" ({rate.no_verdict} unjudged)" if rate.no_verdict else ""
                finding = rate.finding(self.smallest_difference)
                table.add_row(*map(Text, (*names, value, _rate(rate), counts + missing, finding)))
                names = ("", "")
        return Group(table, *(Text(line) for line in [*self._chance(), *self._remarks()]))

    def _chance(self) -> list[str]:
        """Say how many verdicts chance alone gives, where there are several."""
        n = sum(len(match.win_rates()) for match in self.matches)
        return [] if n < 2 else [chance_line(n)]

    def _counts(self, rate: WinRate) -> dict[str, Any]:
        low, high = rate.interval or (None, None)
        finding = rate.finding(self.smallest_difference)
        return {"win_rate": rate.rate, "low": low, "high": high, "n": rate.n, "finding": finding, **asdict(rate)}

    def _remarks(self) -> list[str]:
        bias, lines = position_bias(self._judged()), []
        if bias.disagreeing is not None and self.judge["kind"] != "rewards":
            first = "" if bias.first_wins is None else f"; the first place won {bias.first_wins:.0%} of decided answers"
            lines.append(f"Position bias: the two orders disagree on {bias.disagreeing:.0%} of pairs{first}.")
        lines += [f"Without a verdict: {count} x {problem}." for problem, count in self.problems().items()]
        return lines

    def _judged(self) -> list[Judged]:
        return [one for match in self.matches for one in match.judged]


def _rate(rate: WinRate) -> str:
    if rate.rate is None or rate.interval is None:
        return "-"
    low, high = rate.interval
    return f"{rate.rate:.0%} ({low:.0%} to {high:.0%})"
