"""How numbers are said, everywhere alike: scores, intervals, differences and what they decide."""

from mva.analysis.choice import Gain
from mva.analysis.front_view import CandidateView
from mva.pareto.bootstrap import Difference, Interval


def score_words(candidate: CandidateView, value: str) -> str:
    """Say a score with its standard error and, in brackets, what it is on held-out prompts."""
    held_out = "" if candidate.held_out is None else f" ({candidate.held_out[value]:.2f})"
    return f"{candidate.scores[value]:.2f} ± {candidate.errors[value]:.2f}{held_out}"


def interval_words(interval: Interval) -> str:
    """Say an estimate with its interval."""
    return f"{interval.estimate:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def difference_words(difference: Difference | None) -> str:
    """Say a difference with its interval and its verdict; `-` where there is none."""
    if difference is None:
        return "-"
    interval = difference.interval
    return f"{interval.estimate:+.3g} ({interval.low:.3g} to {interval.high:.3g}): {difference.verdict}"


def gain_words(gain: Gain) -> str:
    """Say a candidate's difference from the base, or a vector's from another, with its interval and its verdict."""
    verdict = "better" if gain.low > 0 else "worse" if gain.high < 0 else "undecided"
    return f"{gain.difference:+.2f} ({gain.low:+.2f} to {gain.high:+.2f}, {verdict})"


def on_front_words(probability: float) -> str:
    """Say how probably a candidate is on the front."""
    return f"With these prompts' noise it is on the front with a probability of {probability:.0%}."
