"""Which candidate of a front to take, and how it stands against the base on prompts that had no part in the choice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mva.analysis.front_view import BASE, CandidateView, FrontView
from mva.analysis.preservation import paired_scores
from mva.analysis.prompt_rewards import prompt_sides
from mva.runs.run_folder import RunFiles


@dataclass(frozen=True)
class Gain:
    """A value's mean reward less the base's, paired over `n_prompts` held-out prompts: 95 % interval and verdict."""

    difference: float
    low: float
    high: float
    n_prompts: int
    verdict: str


def balanced(view: FrontView) -> CandidateView:
    """Take the front's best candidate where all values matter alike: scores scaled to each value's range, then summed.

    The page's sliders stand there at first. Of equal ones the first in the order of evaluation.
    """
    utility = utilities(view)
    return max((candidate for candidate in view.candidates if candidate.on_front), key=lambda c: utility[c.id])


def utilities(view: FrontView, *, most: str | None = None) -> dict[str, float]:
    """Say how good each candidate is on validation prompts: its score of the value `most`, or all values alike.

    The latter is the sum of the scores, each scaled to its value's range. Scores are raw, or read off a surface
    (`evaluation.select_by`).
    """
    choosing = {candidate.id: view.choosing_scores(candidate) for candidate in view.candidates}
    if most is not None:
        return {candidate: scores[most] for candidate, scores in choosing.items()}
    ranges = {}
    for value in view.values:
        column = [scores[value] for scores in choosing.values()]
        ranges[value] = min(column), (max(column) - min(column)) or 1.0
    return {
        candidate: sum((scores[value] - low) / size for value, (low, size) in ranges.items())
        for candidate, scores in choosing.items()
    }


def gains(run: RunFiles, view: FrontView, candidate: CandidateView) -> Mapping[str, Gain]:
    """Compare a candidate with the base on held-out prompts, by value; empty where fewer than two are known of both.

    The interval is Student's t over the prompts' differences. The candidate was picked on other prompts, so that the
    difference does not flatter it; it speaks of these vectors, not of training anew.
    """
    base = next((each for each in view.candidates if each.kind == BASE), None)
    if base is None or base.id == candidate.id:
        return {}
    sides = prompt_sides(run, candidate.id, base.id, "test", view.values)
    smallest = view.front.smallest_difference
    return {
        value: gain_of(paired_scores(ours, theirs, smallest_difference=smallest))
        for value, (ours, theirs) in sides.items()
    }


def gain_of(record: Mapping[str, Any]) -> Gain:
    """Take a stored comparison (`paired_scores`); earlier runs stored no verdict."""
    low, high = record["low"], record["high"]
    plain = "better" if low > 0 else "worse" if high < 0 else "undecided"
    return Gain(record["difference"], low, high, record["n_prompts"], record.get("verdict", plain))
