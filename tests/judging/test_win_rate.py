"""Win rates and their intervals, against numbers worked out by hand."""

import pytest

from mva.judging.base import Answer, Cost, Question, Response
from mva.judging.rewards import Rewards
from mva.judging.win_rate import WinRate, both_orders, judge_pairs, position_bias, win_rate


class ByRule:
    """A judge whose verdict is a function of the two texts."""

    def __init__(self, rule):
        self.rule, self.record = rule, {"kind": "rule"}

    def estimate(self, questions):
        return Cost(len(questions), 0)

    def compare(self, questions, advance):
        return [Answer(self.rule(q.first.text, q.second.text)) for q in questions]


def question(ours, theirs, rewards=(0.0, 0.0)):
    sides = [Response(text, {"helpful": reward}) for text, reward in zip((ours, theirs), rewards, strict=True)]
    return Question("helpful", "Why?", *sides)


def judged(rule, *pairs):
    return judge_pairs(ByRule(rule), [question(*pair) for pair in pairs], lambda _: None)


def longer(first, second):
    return "tie" if len(first) == len(second) else "first" if len(first) > len(second) else "second"


def test_a_judge_that_reads_wins_and_loses_in_both_orders():
    found = judged(longer, ("aaa", "b"), ("a", "bbb"), ("a", "b"))
    assert [one.outcome for one in found] == ["win", "loss", "tie"]
    assert position_bias(found).disagreeing == 0
    assert position_bias(found).first_wins == 0.5


def test_a_judge_that_looks_at_places_alone_decides_nothing():
    found = judged(lambda *_: "first", ("aaa", "b"), ("a", "bbb"))
    assert [one.outcome for one in found] == ["tie", "tie"]
    assert (position_bias(found).disagreeing, position_bias(found).first_wins) == (1, 1)


def test_a_win_in_one_order_and_a_tie_in_the_other_is_a_tie():
    (found,) = judged(lambda first, _: "first" if first == "ours" else "tie", ("ours", "theirs"))
    assert found.outcome == "tie"
    assert position_bias([found]).disagreeing == 1


def test_no_verdict_in_one_order_is_none_and_leaves_the_count():
    found = judged(lambda first, second: None if first == "b" else longer(first, second), ("aaa", "b"), ("aaa", "c"))
    assert [one.outcome for one in found] == [None, "win"]
    rate = win_rate(found)
    assert (rate.wins, rate.n, rate.no_verdict, rate.rate) == (1, 1, 1, 1.0)


def test_equal_texts_are_a_tie_that_nobody_is_asked_about():
    questions = [question("same", "same"), question("aa", "b")]
    assert len(both_orders(questions)) == 2
    found = judged(longer, ("same", "same"), ("aa", "b"))
    assert [one.outcome for one in found] == ["tie", "win"]
    assert win_rate(found).identical == 1
    assert position_bias(found[:1]).first_wins is None


def test_the_win_rate_counts_a_tie_as_half():
    assert WinRate(wins=5, ties=2, losses=3, no_verdict=4, identical=1).rate == 0.6


@pytest.mark.parametrize(
    ("counts", "finding"),
    [
        ((9, 0, 0), "undecided, needs about 10 prompts"),  # [0.70, 1], but of nine prompts
        ((10, 0, 0), "better"),  # [0.72, 1]
        ((0, 0, 10), "worse"),
        ((0, 100, 0), "no difference larger than 0.05"),  # [0.48, 0.52]
        ((59, 0, 41), "undecided, needs about 247 prompts"),  # [0.492, 0.681]
        ((60, 0, 40), "better"),  # [0.502, 0.691]
        ((0, 0, 0), "undecided: no prompt has a verdict"),
    ],
)
def test_only_an_interval_without_one_half_is_a_finding(counts, finding):
    assert WinRate(*counts, no_verdict=0, identical=0).finding() == finding


def test_the_higher_reward_wins_and_equal_ones_tie(tmp_path):
    pairs = [
        question("a", "b", (2.0, 1.0)),
        question("a", "b", (-2.0, -1.0)),
        question("a", "b", (1.0, 1.0)),
    ]
    found = judge_pairs(Rewards().open(tmp_path), pairs, lambda _: None)
    assert [one.outcome for one in found] == ["win", "loss", "tie"]


def test_a_missing_reward_is_refused(tmp_path):
    bare = Question("honest", "Why?", Response("a", {"helpful": 1.0}), Response("b", {"honest": 1.0}))
    with pytest.raises(ValueError, match="no reward of 'honest'"):
        judge_pairs(Rewards().open(tmp_path), [bare], lambda _: None)
