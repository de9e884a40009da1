"""What a reader wants to know first of a run: what to take, how sure that is, what the penalty did, what would help.

Every sentence stands on a number that the page shows again as evidence below.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from mva.analysis.choice import Gain, balanced, gain_of, gains
from mva.analysis.front_view import CandidateView, FrontView
from mva.analysis.limits import Answer
from mva.analysis.reward_checks import WEAK_REWARD, weakest_words
from mva.analysis.warnings import NORM_KEPT
from mva.report.limit_words import answer_lines
from mva.report.tables import export_command
from mva.report.words import gain_words, on_front_words
from mva.runs.run_folder import Record, RunFiles

_MORE_PROMPTS = 4


@dataclass(frozen=True)
class Card:
    """A question, its answer in a line, what stands behind it, and the command that goes on from there."""

    question: str
    answer: str
    reasons: tuple[str, ...]
    command: str | None = None


def first_screen(run: RunFiles, view: FrontView, answer: Answer | None = None) -> list[Card]:
    """Answer the four questions; `answer` is what the user asked for by `select` (None: nothing)."""
    candidate = balanced(view) if answer is None else answer.candidate
    take = _take(run, view, candidate) if answer is None else _take_under_limits(run, answer)
    return [take, _sure(run, view, candidate), _penalty(run), _surer(run, view)]


def _take(run: RunFiles, view: FrontView, candidate: CandidateView) -> Card:
    scores = ", ".join(f"{value} {_score(candidate, value)}" for value in view.values)
    others = len(view.on_front) - 1
    chosen_by = " (chosen by scores read off their surfaces)" if view.front.select_by == "surface" else ""
    rest = f"The front has {others} more, for other preferences: choose below." if others else "It is the whole front."
    return Card(
        "What should I take?",
        f"{candidate.label} ({candidate.id})",
        (
            f"The best of {len(view.candidates)} candidates where all values matter alike{chosen_by}: {scores}.",
            rest,
        ),
        export_command(run, candidate.id),
    )


def _take_under_limits(run: RunFiles, answer: Answer) -> Card:
    candidate = answer.candidate
    return Card(
        "What should I take?",
        f"{candidate.label} ({candidate.id})" if answer.keeps else "Nothing keeps the limits with confidence.",
        tuple(answer_lines(answer)),
        export_command(run, candidate.id),
    )


def _sure(run: RunFiles, view: FrontView, candidate: CandidateView) -> Card:
    compared = gains(run, view, candidate)
    reasons = [f"{value} {gain_words(gain)}" for value, gain in compared.items()]
    if compared:
        n_prompts = next(iter(compared.values())).n_prompts
        what = "scores by pairs" if view.front.scored_by == "pairs" else "mean rewards"
        reasons.append(f"Differences of {what} on {n_prompts} held-out prompts, with 95 % intervals.")
    point = next((point for point in view.front.points if point.id == candidate.id), None)
    reasons.append("It is not on the front." if point is None else on_front_words(point.membership_probability))
    words = weakest_words(run.reward_checks)
    reasons.append(words or "The rewards were checked on their own kind of data alone (docs/rewards.md).")
    return Card("How sure is that?", _against_the_base(compared), tuple(reasons))


def _penalty(run: RunFiles) -> Card:
    question = "What did the penalty do?"
    if not run.dependence.get("pairs"):
        return Card(question, "Not measured.", ("The run has no two vectors whose dependence was measured.",))
    reasons = list(_dependence(run.dependence["pairs"]))
    for value, vector in run.preservation.items():
        share = vector["norm"] / vector["norm_independent"]
        reasons.append(
            f"The vector of {value} has {share:.0%} of the norm that it has without the penalty, and a score "
            f"of its own value that differs by {gain_words(gain_of(vector))}."
        )
    if not run.preservation:
        return Card(question, "No vector was compared with training without it.", tuple(reasons))
    shrunk = [
        value for value, vector in run.preservation.items() if vector["norm"] < NORM_KEPT * vector["norm_independent"]
    ]
    costly = [value for value, vector in run.preservation.items() if vector["high"] < 0]
    answer = "It cost no vector much."
    if shrunk:
        answer = f"It shrank the vector of {' and '.join(shrunk)}."
    if costly:
        answer = f"It cost {' and '.join(costly)} some of its own score."
    return Card(question, answer, tuple(reasons))


def _surer(run: RunFiles, view: FrontView) -> Card:
    n_prompts = max((line["n_prompts"] for line in run.candidates if line["split"] == "validation"), default=0)
    weak = [value for value, reward in run.rewards.items() if reward["accuracy"] < WEAK_REWARD]
    reasons = [f"More preference pairs for the reward of {' and '.join(weak)}, which says little."] if weak else []
    settings = [f"evaluation.n_{split}_prompts={_MORE_PROMPTS * n_prompts}" for split in ("validation", "test")]
    how = "evaluation.n_pairs, or more held-out pairs" if view.front.scored_by == "pairs" else " ".join(settings)
    reasons.append(
        f"More prompts: the scores stand on {n_prompts}, and {_MORE_PROMPTS} times as many halve their intervals "
        f"({how})."
    )
    if "seed" in run.environment:
        seed = run.environment["seed"]
        reasons.append(
            f"More seeds: no interval here says what training anew would change (mva -m seed={seed},{seed + 1},"
            f"{seed + 2} does)."
        )
    answer = "Better rewards, then more prompts." if weak else "More prompts, then more seeds."
    return Card("What would make it surer?", answer, tuple(reasons))


def _against_the_base(compared: Mapping[str, Gain]) -> str:
    if not compared:
        return "The base was not scored on held-out prompts."
    by_verdict: dict[str, list[str]] = {}
    for value, gain in compared.items():
        by_verdict.setdefault(gain.verdict.partition(",")[0], []).append(value)
    parts = [f"{verdict} in {' and '.join(values)}" for verdict, values in by_verdict.items()]
    return f"Against the base: {', '.join(parts)}."


def _dependence(pairs: Sequence[Record]) -> Iterator[str]:
    """Say each estimator's mean over every two vectors, with and without the penalty, and by chance."""
    for name, group in groupby(pairs, key=lambda pair: str(pair["estimator"])):
        rows = list(group)
        measured, without, chance = (
            sum(row[key] for row in rows) / len(rows) for key in ("dependence", "independent_training", "chance_mean")
        )
        yield f"Dependence by {name}: {measured:.3g}, {without:.3g} without the penalty, {chance:.3g} by chance."


def _score(candidate: CandidateView, value: str) -> str:
    held_out = "" if candidate.held_out is None else f" (held out {candidate.held_out[value]:.2f})"
    return f"{candidate.scores[value]:.2f}{held_out}"
