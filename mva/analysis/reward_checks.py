"""What the checks of rewards on labelled pairs say (docs/rewards.md)."""

from collections.abc import Sequence
from typing import Any

from mva.runs.run_folder import Record

WEAK_REWARD = 0.6


def weakest(checks: Sequence[Record]) -> Record | None:
    """The check with the lowest agreement; None where rewards were checked on their own held-out pairs alone."""
    if all(check["own"] for check in checks):
        return None
    return min(checks, key=lambda check: (check["accuracy"], check["low"]))


def weakest_words(checks: Sequence[Record]) -> str | None:
    """Name the weakest check of all in a sentence; None where there is nothing to compare."""
    check = weakest(checks)
    if check is None:
        return None
    return f"Weakest of {len(checks)} checks of rewards: {check_words(check)}."


def check_words(check: Record) -> str:
    """Say how far a reward agrees with a source's pairs, and what that means."""
    whose = "its own held-out pairs" if check["own"] else f"the pairs of {check['source']}"
    return f"{check['value']}: agrees with {share_words(check)} of {whose}: {verdict_words(check)}"


def share_words(check: Record) -> str:
    """Say a share with its interval, in percent."""
    share, low, high = (100 * check[name] for name in ("accuracy", "low", "high"))
    return f"{share:.0f} % ({low:.0f} to {high:.0f})"


def verdict_words(check: Record) -> str:
    """Say what an agreement is beside chance.

    An interval that holds 1/2 is "no better than chance" where it ends below `WEAK_REWARD`, and undecided else.
    """
    if check["low"] > 0.5:
        return "better than chance"
    if check["high"] < 0.5:
        return "worse than chance"
    if check["high"] < WEAK_REWARD:
        return "no better than chance"
    return f"undecided with {check['n_pairs']} pairs"


def check_rows(checks: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the checks, source after source, as they are read."""
    columns = ["source", "reward", "pairs", "agrees with", "length alone", "without length", "survives", "verdict"]
    order = list(dict.fromkeys(check["source"] for check in checks))
    ordered = sorted(checks, key=lambda check: (not check["own"], order.index(check["source"])))
    return columns, [_row(check) for check in ordered]


def _row(check: Record) -> list[str]:
    length: dict[str, Any] = check["length"]
    left_out = f" ({check['left_out']} left out)" if check["left_out"] else ""
    return [
        check["source"],
        check["value"],
        f"{check['n_pairs']}{left_out}",
        share_words(check),
        f"{share_words(length)}, {length['prefers']} is better",
        "-" if check["balanced"] is None else share_words(check["balanced"]),
        "-" if check["survives"] is None else f"{100 * check['survives']:.0f} %",
        verdict_words(check),
    ]
