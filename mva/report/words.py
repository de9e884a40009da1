"""How numbers are said, everywhere alike: scores, intervals, differences and what they decide."""

from collections.abc import Mapping

from mva.analysis.choice import Gain
from mva.analysis.front_view import CandidateView
from mva.analysis.pair_agreement import RankCorrelation, ValueAgreement
from mva.pareto.front import ScoredBy
from mva.statistics.comparison import Difference
from mva.statistics.estimate import Interval

_MEANINGS: Mapping[ScoredBy, str] = {
    "responses": "scores are mean rewards, higher is better",
    "pairs": (
        "scores are means of log sigmoid(beta * margin) over held-out preference pairs, higher is better; the base has "
        "log 0.5 = -0.69; accuracy is the share of pairs whose chosen response a candidate favours more than the base"
    ),
}

_NOT_ALONE = "Do not choose by one of the two alone."


def meaning_words(scored_by: ScoredBy) -> str:
    """Say what the scores are."""
    return _MEANINGS[scored_by]


def score_words(candidate: CandidateView, value: str) -> str:
    """Say a score with its standard error and, in brackets, what it is on held-out prompts."""
    held_out = "" if candidate.held_out is None else f" ({candidate.held_out[value]:.2f})"
    return f"{candidate.scores[value]:.2f} ± {candidate.errors[value]:.2f}{held_out}"


def accuracy_words(candidate: CandidateView, value: str) -> str:
    """Say the share of preference pairs that a candidate agrees with and, in brackets, on held-out ones."""
    again = candidate.accuracies_held_out
    held_out = f" ({again[value]:.0%})" if value in again else ""
    return f"{candidate.accuracies[value]:.0%}{held_out}" if value in candidate.accuracies else "-"


def rank_words(correlation: RankCorrelation | None) -> str:
    """Say a rank correlation of raw scores, and the interval of the true ones'; `-` where there is none."""
    if correlation is None:
        return "-"
    raw = "-" if correlation.raw is None else f"{correlation.raw:.2f}"
    return f"{raw} ({correlation.low:.2f} to {correlation.high:.2f})"


def agreement_words(agreement: ValueAgreement) -> str:
    """Say in a sentence whether responses and preference pairs rank candidates alike."""
    value, correlation = agreement.value, rank_words(agreement.everywhere)
    if agreement.word == "disagree" and agreement.reversed:
        return (
            f"Pairs reverse the order of the front in {value}: rank correlation {rank_words(agreement.along_front)} "
            f"along it, {correlation} over all candidates. {_NOT_ALONE}"
        )
    if agreement.word == "disagree":
        return (
            f"Responses and pairs rank candidates differently in {value}: rank correlation {correlation}. {_NOT_ALONE}"
        )
    if agreement.word == "agree":
        return f"Responses and pairs rank candidates alike in {value}: rank correlation {correlation}."
    return f"Whether responses and pairs rank candidates alike in {value} is undecided: rank correlation {correlation}."


def interval_words(interval: Interval | float) -> str:
    """Say an estimate with its interval; a plain number is one that has none."""
    if not isinstance(interval, Interval):
        return f"{interval:.3g}"
    return f"{interval.estimate:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def difference_words(difference: Difference | None) -> str:
    """Say a difference with its interval and its verdict; `-` where there is none."""
    if difference is None:
        return "-"
    interval = difference.interval
    return f"{interval.estimate:+.3g} ({interval.low:.3g} to {interval.high:.3g}): {difference.verdict}"


def gain_words(gain: Gain) -> str:
    """Say a candidate's difference from the base, or a vector's from another, with its interval and its verdict."""
    return f"{gain.difference:+.2f} ({gain.low:+.2f} to {gain.high:+.2f}: {gain.verdict})"


def probability_words(probability: float | None) -> str:
    """Say a probability; `-` where it is not known."""
    return "-" if probability is None else f"{probability:.2f}"


def on_front_words(probability: float | None) -> str:
    """Say how probably a candidate is on the front."""
    if probability is None:
        return "How probably it is on the front is not known."
    return f"It is truly on the front with a probability of {probability:.0%}."
