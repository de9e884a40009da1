"""Which candidate to take under limits: those that keep them with confidence on held-out prompts.

The order of candidates is that of validation prompts, the limits are held against held-out ones, so that the held-out
scores of the chosen one do not flatter it. Each limit has a 95 % interval over prompts; limits and candidates are
not corrected for each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mva.analysis.choice import utilities
from mva.analysis.front_view import BASE, CandidateView, FrontView
from mva.analysis.prompt_rewards import prompt_rewards
from mva.analysis.side_costs import SHARES, SIDE_COSTS, costs_of
from mva.checks import BadSetting, shown
from mva.runs.responses import Answers
from mva.runs.run_folder import RunFiles
from mva.statistics.estimate import mean_intervals
from mva.statistics.proportions import proportion_interval
from mva.statistics.rewards import MINIMUM_PROMPTS, Floats

Kind = Literal["cost", "score", "gain"]
Verdict = Literal["keeps", "breaks", "undecided"]


@dataclass(frozen=True)
class Limit:
    """A bound: of a side cost at most, of a value's score at least, or of the share of the best gain that is kept."""

    name: str
    kind: Kind
    bound: float


@dataclass(frozen=True)
class Selection:
    """What is wanted: the value to have the `most` of (None: all matter alike), among those that keep all limits."""

    most: str | None
    limits: tuple[Limit, ...]


ANY_CANDIDATE = Selection(None, ())


@dataclass(frozen=True)
class Standing:
    """A candidate against a limit on held-out prompts: its number with the 95 % interval, and what that decides.

    The number is the mean side cost, the mean score, or the gain over the base less the demanded share of the best
    candidate's. `reach` is the distance to the limit in halves of the interval: 1 or more keeps it.
    """

    limit: Limit
    estimate: float
    low: float
    high: float
    verdict: Verdict
    reach: float


@dataclass(frozen=True)
class Answer:
    """The candidate to take, or the nearest where none keeps all limits (`keeps` is false).

    `standings` holds every candidate that was held against the limits, the best on validation prompts first; it is
    empty where nothing could be held against them.
    """

    selection: Selection
    candidate: CandidateView
    keeps: bool
    n_keeping: int
    undecided: tuple[CandidateView, ...]
    standings: Mapping[str, tuple[Standing, ...]]
    n_prompts: int


def selection(
    most: str | None, limits: Mapping[str, float | str], *, values: Sequence[str], by_pairs: bool
) -> Selection:
    """Read what the user asks for; `by_pairs`: there are no responses.

    Raises:
        BadSetting: For a value or a side cost that there is none of, or a bound out of range.
    """
    if most is not None and most not in values:
        raise BadSetting("select.most", f"is {shown(most)}: choose a value, {', '.join(values)}.")
    return Selection(most, tuple(_limit(name, limits[name], values, by_pairs=by_pairs) for name in limits))


def choose(run: RunFiles, view: FrontView, selection: Selection) -> Answer | None:
    """Choose among the candidates that were scored on held-out prompts, without the base; None if nothing is asked for.

    Without any scored there, and where the limits can't be held against anything, the best one on validation prompts
    stands in, and keeps nothing.
    """
    if selection == ANY_CANDIDATE:
        return None
    utility = utilities(view, most=selection.most)
    combined = [candidate for candidate in view.candidates if candidate.kind != BASE]
    ranked = sorted(combined, key=lambda candidate: -utility[candidate.id])
    held_out = {line["id"] for line in run.candidates if line["split"] == "test"}
    scored = [candidate for candidate in ranked if candidate.id in held_out]
    standings, n_prompts = _standings(run, view, selection, scored)
    if not standings:
        first = (scored or ranked or list(view.candidates))[0]
        return Answer(selection, first, not selection.limits, len(scored), (), {}, 0)
    verdicts = {identifier: {standing.verdict for standing in row} for identifier, row in standings.items()}
    keeping = [candidate for candidate in scored if verdicts[candidate.id] <= {"keeps"}]
    unbroken = [candidate for candidate in scored if "breaks" not in verdicts[candidate.id]]
    undecided = tuple(candidate for candidate in unbroken if candidate not in keeping)
    nearest = max(scored, key=lambda candidate: min(standing.reach for standing in standings[candidate.id]))
    chosen = keeping[0] if keeping else nearest
    return Answer(selection, chosen, bool(keeping), len(keeping), undecided, standings, n_prompts)


def _limit(name: str, bound: float | str, values: Sequence[str], *, by_pairs: bool) -> Limit:
    key = f"select.limits.{name}"
    if name in values and name in SIDE_COSTS:
        raise BadSetting(key, "is both a value and a side cost: rename the value to set limits.")
    if name not in values and name not in SIDE_COSTS:
        raise BadSetting(key, f"names neither a value nor a side cost: choose {', '.join([*values, *SIDE_COSTS])}.")
    if name in SIDE_COSTS and by_pairs:
        raise BadSetting(key, "needs responses, and the scores are those of pairs: leave it out.")
    share = _share(bound)
    if name in values and isinstance(bound, str):
        if share is None or not 0 < share <= 1:
            raise BadSetting(key, f"is {shown(bound)}: choose a score, or a share of the best gain from 1% to 100%.")
        return Limit(name, "gain", share)
    if name in values:
        return Limit(name, "score", float(bound))
    most = 1.0 if name in SHARES else np.inf
    number = share if isinstance(bound, str) and name in SHARES else bound
    if not isinstance(number, int | float) or not 0 <= number <= most:
        demand = "a share from 0 to 1, or from 0% to 100%" if name in SHARES else "a number of at least 0"
        raise BadSetting(key, f"is {shown(bound)}: choose {demand}.")
    return Limit(name, "cost", float(number))


def _share(bound: float | str) -> float | None:
    """Read `95%`; None for anything else."""
    if not isinstance(bound, str) or not bound.endswith("%"):
        return None
    try:
        return float(bound.removesuffix("%")) / 100
    except ValueError:
        return None


def _standings(
    run: RunFiles, view: FrontView, selection: Selection, scored: Sequence[CandidateView]
) -> tuple[dict[str, tuple[Standing, ...]], int]:
    """Hold candidates against all limits; also the number of prompts (or clusters), the fewest of any limit."""
    columns = [_numbers(run, view, limit, scored) for limit in selection.limits]
    numbers = [column for column in columns if column is not None]
    if not scored or not numbers or len(numbers) < len(columns):
        return {}, 0
    rows = [_against(limit, column) for limit, column in zip(selection.limits, numbers, strict=True)]
    by_candidate = {candidate.id: tuple(row[k] for row in rows) for k, candidate in enumerate(scored)}
    return by_candidate, min(column.shape[1] for column in numbers)


def _numbers(run: RunFiles, view: FrontView, limit: Limit, scored: Sequence[CandidateView]) -> Floats | None:
    """What each held-out prompt says of the limit's number. Shape: `(n_candidates, n_prompts)`.

    None with fewer than two prompts, or where a gain has no base or no best candidate to be compared with.
    """
    ids = [candidate.id for candidate in scored]
    if limit.kind == "cost":
        answers = Answers.of(run, ids, "test")
        column = list(SIDE_COSTS).index(limit.name)
        return answers.measured(costs_of)[:, :, column] if answers.n_independent > 1 else None
    if limit.kind == "score":
        rewards = prompt_rewards(run, ids, "test", [limit.name]) if ids else None
        return None if rewards is None else rewards[:, :, 0]
    base = next((candidate.id for candidate in view.candidates if candidate.kind == BASE), None)
    if base is None or not ids or not any(line["id"] == base for line in run.candidates if line["split"] == "test"):
        return None
    rewards = prompt_rewards(run, [*ids, base], "test", [limit.name])
    if rewards is None:
        return None
    gains = rewards[:-1, :, 0] - rewards[-1, :, 0]
    utility = utilities(view, most=limit.name)
    best = int(np.argmax([utility[identifier] for identifier in ids]))
    return np.asarray(gains - limit.bound * gains[best])


def _against(limit: Limit, numbers: Floats) -> list[Standing]:
    """Bound each candidate's number and compare it with the limit.

    Student's t over prompts; a share's interval is also at least as wide as Wilson's of as many outcomes, since no
    refusal among few prompts does not mean none at all.
    """
    n_prompts = numbers.shape[1]
    lows, highs = (bounds[:, 0] for bounds in mean_intervals(numbers[:, :, None]))
    standings = []
    for number, low, high in zip(numbers.mean(axis=1), lows, highs, strict=True):
        estimate, least, most = float(number), float(low), float(high)
        if limit.name in SHARES and limit.kind == "cost":
            wilson = proportion_interval(n_prompts * min(max(estimate, 0.0), 1.0), n_prompts)
            least, most = max(min(least, wilson[0]), 0.0), min(max(most, wilson[1]), 1.0)
        standings.append(_standing(limit, estimate, (least, most), decides=n_prompts >= MINIMUM_PROMPTS))
    return standings


def _standing(limit: Limit, estimate: float, bounds: tuple[float, float], *, decides: bool) -> Standing:
    low, high = bounds
    demanded = 0.0 if limit.kind == "gain" else limit.bound
    at_worst, at_best = (demanded - high, demanded - low) if limit.kind == "cost" else (low - demanded, high - demanded)
    margin = demanded - estimate if limit.kind == "cost" else estimate - demanded
    half = margin - at_worst
    reach = margin / half if half > 0 else np.copysign(np.inf, margin)
    verdict: Verdict = "keeps" if at_worst >= 0 else "breaks" if at_best < 0 else "undecided"
    return Standing(limit, estimate, low, high, verdict if decides else "undecided", float(reach))
