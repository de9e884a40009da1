"""How numbers are said, everywhere alike: scores, intervals, differences and what they decide."""

from mva.analysis.choice import Gain
from mva.analysis.front_view import CandidateView
from mva.statistics.comparison import Difference
from mva.statistics.estimate import Interval


def score_words(candidate: CandidateView, value: str) -> str:
    """Say a score with its standard error and, in brackets, what it is on held-out prompts."""
    held_out = "" if candidate.held_out is None else f" ({candidate.held_out[value]:.2f})"
    return f"{candidate.scores[value]:.2f} ± {candidate.errors[value]:.2f}{held_out}"


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
