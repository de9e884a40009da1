"""What is said of checks: the weakest, what its interval means, the table."""

import pytest

from mva.analysis.reward_checks import check_rows, check_words, verdict_words, weakest, weakest_words

INTERVAL = {"n_pairs": 150, "low": 0.43, "high": 0.59}


def check(accuracy=0.51, *, value="harmless", source="hh", own=False, **changes):
    agreement = {**INTERVAL, "accuracy": accuracy}
    length = {**agreement, "prefers": "shorter"}
    rest = {"left_out": 0, "length": length, "balanced": None, "survives": None}
    return {"value": value, "source": source, "own": own, **agreement, **rest, **changes}


def test_the_weakest_is_named_in_plain_words():
    checks = [check(0.89, own=True, low=0.85, high=0.92), check(), check(0.72, value="helpful", low=0.65, high=0.79)]
    assert weakest(checks) == checks[1]
    assert weakest_words(checks) == (
        "Weakest of 3 checks of rewards: harmless: agrees with 51 % (43 to 59) of the pairs of hh: no better than chance."
    )


def test_own_pairs_alone_have_no_weakest():
    assert weakest([check(own=True)]) is None
    assert weakest_words([]) is None


def test_own_pairs_can_be_the_weakest_and_are_called_so():
    checks = [check(0.7, low=0.6, high=0.8), check(own=True)]
    assert weakest(checks) == checks[1]
    assert "of its own held-out pairs" in check_words(checks[1])


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.51, 0.70, "better than chance"),
        (0.30, 0.49, "worse than chance"),
        (0.43, 0.59, "no better than chance"),
        (0.40, 0.75, "undecided with 150 pairs"),
    ],
)
def test_an_interval_says_what_an_agreement_is_beside_chance(low, high, words):
    assert verdict_words(check(low=low, high=high)) == words


def test_the_table_begins_with_the_own_pairs_and_groups_by_source():
    balanced = {"accuracy": 0.6, "low": 0.5, "high": 0.7, "n_effective": 90.0}
    checks = [
        check(source="own held-out pairs", own=True),
        check(value="a", source="x", balanced=balanced, survives=0.5, left_out=7),
        check(value="a", source="y"),
        check(value="b", source="x"),
    ]
    columns, rows = check_rows(checks)
    assert [row[:2] for row in rows] == [["own held-out pairs", "harmless"], ["x", "a"], ["x", "b"], ["y", "a"]]
    cells = dict(zip(columns, rows[1], strict=True))
    assert cells["pairs"] == "150 (7 left out)"
    assert cells["length alone"] == "51 % (43 to 59), shorter is better"
    assert (cells["without length"], cells["survives"]) == ("60 % (50 to 70)", "50 %")
