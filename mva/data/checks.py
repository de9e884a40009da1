"""What is wrong with preference data: problems that training would swallow in silence."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from mva.data.preference import Dialogue, PreferencePair, ValueData
from mva.data.sources.base import BadRow
from mva.data.tokenization import TokenizedPair, TokenLimits

_EXAMPLES = 3


class EmptyData(ValueError):
    """Nothing is left to train or evaluate on."""


@dataclass(frozen=True)
class DataReport:
    """What one value's data holds, and what is wrong with it.

    `problems` maps a kind of problem to the places (`file:line`) where it was found.
    """

    value: str
    counts: dict[str, int]
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    longer_is_chosen: float = 0.5

    def summary(self) -> list[str]:
        """Say it in sentences, the counts first."""
        counts = ", ".join(f"{count} {split}" for split, count in self.counts.items())
        longer = f"the longer response is the chosen one in {self.longer_is_chosen:.0%}"
        lines = [f"{self.value}: {counts} pairs; {longer}."]
        for problem, places in self.problems.items():
            more = ", ..." if len(places) > _EXAMPLES else ""
            lines.append(f"{self.value}: {len(places)} x {problem} ({', '.join(places[:_EXAMPLES])}{more})")
        return lines

    def facts(self) -> dict[str, object]:
        """Give what a run's record holds: counts, how often each problem was met, how often longer is chosen."""
        problems = {problem: len(places) for problem, places in self.problems.items()}
        return {"counts": self.counts, "problems": problems, "longer_is_chosen": self.longer_is_chosen}


def check_value(data: ValueData, skipped: Sequence[BadRow] = ()) -> DataReport:
    """Count and name skipped rows, duplicates, contradictions, and prompts that two splits share."""
    problems: dict[str, list[str]] = defaultdict(list)
    for bad in skipped:
        problems[f"skipped row: {bad.problem}"].append(bad.origin)
    everything = [pair for _, pairs in data.splits() for pair in pairs]
    for pair in everything:
        if pair.note:
            problems[pair.note].append(pair.origin)
    for problem, places in (
        ("duplicate of an earlier pair", _duplicates(everything)),
        ("contradiction: the same pair in the opposite order", _contradictions(everything)),
        ("prompt that stands in two splits", shared_prompts(dict(data.splits()))),
    ):
        problems[problem].extend(places)
    found = {problem: tuple(places) for problem, places in problems.items() if places}
    counts: dict[str, int] = {split: len(pairs) for split, pairs in data.splits()}
    return DataReport(data.value, counts, found, longer_is_chosen(everything))


def usable_after_truncation(
    pairs: Sequence[PreferencePair], tokenized: Sequence[TokenizedPair], limits: TokenLimits
) -> tuple[list[TokenizedPair], list[BadRow]]:
    """Part the pairs that still differ once cut to `limits` from those that are a constant loss of ln 2."""
    usable: list[TokenizedPair] = []
    bad: list[BadRow] = []
    for pair, tokens in zip(pairs, tokenized, strict=True):
        if tokens.chosen == tokens.rejected:
            cut = f"the responses are identical after truncation to {limits.response} tokens"
            bad.append(BadRow(pair.origin, f"{cut}: raise data.limits.response"))
        else:
            usable.append(tokens)
    return usable, bad


def longer_is_chosen(pairs: Iterable[PreferencePair]) -> float:
    """How often the longer response (in words) is the chosen one; ties count half, no pairs give 0.5."""
    differences = [len(pair.chosen.split()) - len(pair.rejected.split()) for pair in pairs]
    return sum((d > 0) + 0.5 * (d == 0) for d in differences) / len(differences) if differences else 0.5


def _duplicates(pairs: Sequence[PreferencePair]) -> list[str]:
    seen = set[tuple[Dialogue, str, str]]()
    places = []
    for pair in pairs:
        content = (pair.prompt, pair.chosen, pair.rejected)
        if content in seen:
            places.append(pair.origin)
        seen.add(content)
    return places


def _contradictions(pairs: Sequence[PreferencePair]) -> list[str]:
    contents = {(pair.prompt, pair.chosen, pair.rejected) for pair in pairs}
    return [pair.origin for pair in pairs if (pair.prompt, pair.rejected, pair.chosen) in contents]


def shared_prompts(groups: Mapping[str, Sequence[PreferencePair]]) -> list[str]:
    """Name the places (`file:line`) of all pairs whose prompt stands in more than one of the groups."""
    prompts = {group: {pair.prompt for pair in pairs} for group, pairs in groups.items()}
    homes = Counter(chain.from_iterable(prompts.values()))
    return [pair.origin for pairs in groups.values() for pair in pairs if homes[pair.prompt] > 1]
