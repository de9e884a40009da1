"""Do responses and preference pairs rank a run's candidates alike? The two records of `evaluation.by=both`, compared.

Of each value the rank correlation (Spearman) of the candidates' scores by responses with those by pairs, on validation
prompts. The raw one is of noisy scores, which lowers it. Its interval is that of the true scores: 95 % of draws of
them (`mva/statistics/posterior.py`), drawn for each record by itself. Candidates are taken as they are: the interval
speaks of further prompts, not of further candidates.

The two **disagree** where the interval lies below `HIGH`, or the order along the front by responses is reversed: there
the interval of the correlation of its members alone (three or more) lies below 0. They **agree** where the interval
lies above `HIGH`. Anything else is **undecided**, and so are fewer than 10 prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mva.analysis.front_view import CandidateView, FrontView, front_view
from mva.analysis.prompt_rewards import pair_tables, prompt_rewards
from mva.extrapolation.candidate import Candidate, coordinates
from mva.runs.run_folder import RunFiles
from mva.statistics.estimate import LEVEL
from mva.statistics.membership import MOST_SCORES
from mva.statistics.posterior import ScorePosterior
from mva.statistics.rewards import MINIMUM_PROMPTS, Floats

HIGH = 0.8
"""A rank correlation from which on two ways to score are taken to say the same."""
FEWEST = 3
"""Members of a front that have an order."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's of the raw scores (None where all scores of one side are equal), and the interval of the true ones."""

    raw: float | None
    low: float
    high: float


@dataclass(frozen=True)
class ValueAgreement:
    """A value's rank correlation over all candidates and along the front (None: too few members), and what it says.

    `n_prompts` is how many stand behind the scores: the fewer of responses' and pairs'.
    """

    value: str
    everywhere: RankCorrelation
    along_front: RankCorrelation | None
    n_candidates: int
    n_prompts: int

    @property
    def word(self) -> Literal["agree", "disagree", "undecided"]:
        """What may be said, by the rule above."""
        if self.n_prompts < MINIMUM_PROMPTS:
            return "undecided"
        if self.everywhere.high < HIGH or self.reversed:
            return "disagree"
        return "agree" if self.everywhere.low > HIGH else "undecided"

    @property
    def reversed(self) -> bool:
        """Say whether pairs reverse the order of the front."""
        return self.along_front is not None and self.along_front.high < 0


def pair_agreement(run: RunFiles) -> list[ValueAgreement]:
    """Compare the two records of a run, value by value; empty where there is no second one, or nothing to rank."""
    pairs = run.by_pairs
    if pairs is None:
        return []
    view = front_view(run)
    known = {candidate.id for candidate in front_view(pairs).candidates}
    shared = [candidate for candidate in view.candidates if candidate.id in known]
    shared = [shared[k] for k in _spread(len(shared), MOST_SCORES // len(view.values))]
    ids = [candidate.id for candidate in shared]
    if len(ids) < FEWEST:
        return []
    points = coordinates([Candidate(each.coefficients, each.composition) for each in shared])
    responses, by_pairs = (_posterior(record, ids, points, view, seed) for seed, record in enumerate((run, pairs)))
    if responses is None or by_pairs is None:
        return []
    members = np.array([candidate.on_front for candidate in shared])
    return compared(responses, by_pairs, members, n_prompts=_prompts(run, pairs, ids))


def compared(
    responses: ScorePosterior, by_pairs: ScorePosterior, members: NDArray[np.bool_], *, n_prompts: Mapping[str, int]
) -> list[ValueAgreement]:
    """Compare two records of the same candidates; `members` marks the front's.

    `n_prompts` names the values in the order of the scores' columns, with the prompts behind them.
    """
    agreements = []
    for column, (value, number) in enumerate(n_prompts.items()):
        raw = np.stack([record.scores[:, column] for record in (responses, by_pairs)])
        draws = np.stack([record.draws[:, :, column] for record in (responses, by_pairs)])
        along = None
        if members.sum() >= FEWEST:
            along = _correlation(raw[:, members], draws[:, :, members])
        agreements.append(ValueAgreement(value, _correlation(raw, draws), along, raw.shape[1], number))
    return agreements


def raw_correlations(run: RunFiles) -> dict[str, float]:
    """The raw rank correlation of each value alone, which takes no time; a value that can't be ranked is left out."""
    if run.by_pairs is None:
        return {}
    scored_by_pairs = {candidate.id: candidate for candidate in front_view(run.by_pairs).candidates}
    view = front_view(run)
    shared = [candidate for candidate in view.candidates if candidate.id in scored_by_pairs]
    if len(shared) < FEWEST:
        return {}
    counterparts = [scored_by_pairs[candidate.id] for candidate in shared]
    measured = {value: float(spearman(_scores(shared, value), _scores(counterparts, value))) for value in view.values}
    return {value: rho for value, rho in measured.items() if not np.isnan(rho)}


def _scores(candidates: Sequence[CandidateView], value: str) -> Floats:
    return np.array([candidate.scores[value] for candidate in candidates])


def spearman(first: Floats, second: Floats) -> Floats:
    """Rank correlation along the last axis, equal numbers with their mean rank; NaN where a side has equal ones only.

    Shape: `(..., n)` twice -> `(...,)`.
    """
    ranks = [rankdata(x, axis=-1) - (x.shape[-1] + 1) / 2 for x in (first, second)]
    scale = np.sqrt((ranks[0] ** 2).sum(axis=-1) * (ranks[1] ** 2).sum(axis=-1))
    with np.errstate(invalid="ignore"):
        return np.asarray((ranks[0] * ranks[1]).sum(axis=-1) / scale)


def _correlation(raw: Floats, draws: Floats) -> RankCorrelation:
    """Shape: `(2, n)` and `(2, n_draws, n)`, of responses and of pairs."""
    low, high = np.quantile(spearman(*draws), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    measured = float(spearman(*raw))
    return RankCorrelation(None if np.isnan(measured) else measured, float(low), float(high))


def _posterior(run: RunFiles, ids: Sequence[str], points: Floats, view: FrontView, seed: int) -> ScorePosterior | None:
    # The records are drawn with different seeds: equal ones would correlate their errors.
    rewards = prompt_rewards(run, ids, "validation", view.values)
    return None if rewards is None else ScorePosterior.of(points, rewards, seed=seed)


def _prompts(run: RunFiles, pairs: RunFiles, ids: Sequence[str]) -> dict[str, int]:
    assert run.front is not None
    rewards = prompt_rewards(run, ids, "validation", run.front.values)
    answered = 0 if rewards is None else rewards.shape[1]
    tables = pair_tables(pairs, ids, "validation")
    return {value: min(answered, len(set(tables[value].prompt_ids))) for value in run.front.values}


def _spread(n: int, most: int) -> NDArray[np.int64]:
    """Choose at most so many of n, evenly through the order of their evaluation."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).round().astype(np.int64)
