"""Which candidate of a front to take, and how it stands against the base on prompts that had no part in the choice."""

from collections.abc import Mapping
from dataclasses import dataclass

from mva.analysis.front_view import BASE, CandidateView, FrontView
from mva.analysis.preservation import paired_scores
from mva.runs.run_folder import RunFiles, answers


@dataclass(frozen=True)
class Gain:
    """A value's mean reward less the base's, paired over `n_prompts` held-out prompts, with its 95 % interval."""

    difference: float
    low: float
    high: float
    n_prompts: int


def balanced(view: FrontView) -> CandidateView:
    """Take the front's best candidate where all values matter alike: scores scaled to each value's range, then summed.

    The page's sliders stand there at first. Of equal ones the first in the order of evaluation.
    """
    ranges = {}
    for value in view.values:
        scores = [c.scores[value] for c in view.candidates]
        ranges[value] = min(scores), (max(scores) - min(scores)) or 1.0

    def utility(candidate: CandidateView) -> float:
        return sum((candidate.scores[value] - low) / size for value, (low, size) in ranges.items())

    return max((c for c in view.candidates if c.on_front), key=utility)


def gains(run: RunFiles, view: FrontView, candidate: CandidateView) -> Mapping[str, Gain]:
    """Compare a candidate with the base on held-out prompts, by value; empty where fewer than two are known of both.

    The interval is Student's t over the prompts' differences. The candidate was picked on other prompts, so that the
    difference does not flatter it; it speaks of these vectors, not of training anew.
    """
    base = next((c for c in view.candidates if c.kind == BASE), None)
    if base is None or base.id == candidate.id:
        return {}
    ours, theirs = answers(run, [candidate.id, base.id], "test")
    if len(ours) < 2:
        return {}
    found = {}
    for value in view.values:
        paired = paired_scores([line["rewards"][value] for line in ours], [line["rewards"][value] for line in theirs])
        found[value] = Gain(paired["difference"], paired["low"], paired["high"], len(ours))
    return found
