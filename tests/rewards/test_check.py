"""Rewards on labelled pairs: what is counted, what length alone says, what is left without it."""

from types import SimpleNamespace

import pytest
import torch

from mva.data.labelled import LabelledPairs
from mva.data.preference import PreferencePair, ValueData, user_prompt
from mva.rewards.check import OWN, check_rewards, number_of_checks
from mva.rewards.length import Length

GOOD = "good"


class Quality:
    """Prefers a response with the word "good"."""

    key = "quality"

    def score(self, prompts, responses):
        return torch.tensor([float(GOOD in response.split()) for response in responses], dtype=torch.float64)


def pair(k, *, longer, good=True):
    """A pair whose chosen response has 12 words and the rejected one 6, or the other way round."""
    words = (12, 6) if longer else (6, 12)
    chosen, rejected = (" ".join(["word"] * (n - 1)) for n in words)
    marks = (GOOD, "bad") if good else ("bad", GOOD)
    return PreferencePair(user_prompt(f"prompt {k}"), f"{chosen} {marks[0]}", f"{rejected} {marks[1]}")


def value_data(value, *, longer=True):
    train = tuple(pair(f"{value} {k}", longer=longer) for k in range(10))
    held_out = tuple(pair(f"held out {value} {k}", longer=True) for k in range(20))
    return ValueData(value, train, validation=held_out[:10], test=held_out[10:])


def source(n_longer, n_shorter, *, agreeing=1.0, name="other", value=None):
    flags = [True] * n_longer + [False] * n_shorter
    pairs = [pair(f"{name} {k}", longer=flag, good=k * agreeing % 1 < agreeing) for k, flag in enumerate(flags)]
    return LabelledPairs(name, tuple(pairs), value)


def checks_of(rewards, *sources, data=None, limit=None):
    data = data or {value: value_data(value) for value in rewards}
    return {(check.value, check.source): check for check in check_rewards(rewards, data, sources, limit=limit)}


def test_length_as_a_reward_has_nothing_left_without_length():
    check = checks_of({"kind": Length()}, source(160, 40))["kind", "other"]
    assert check.agreement.accuracy == pytest.approx(0.8)
    assert check.balanced.accuracy == pytest.approx(0.5)
    assert check.survives == pytest.approx(0.0)


def test_a_reward_that_sees_quality_keeps_all_of_it():
    check = checks_of({"kind": Quality()}, source(160, 40))["kind", "other"]
    assert check.agreement.accuracy == 1
    assert check.survives == pytest.approx(1.0)


def test_length_alone_takes_the_direction_of_the_training_pairs():
    for longer, prefers, accuracy in ((True, "longer", 0.8), (False, "shorter", 0.2)):
        data = {"kind": value_data("kind", longer=longer)}
        check = checks_of({"kind": Quality()}, source(160, 40), data=data)["kind", "other"]
        assert check.prefers == prefers
        assert check.length.accuracy == pytest.approx(accuracy)


def test_what_is_not_above_chance_has_no_share_that_survives():
    check = checks_of({"kind": Quality()}, source(50, 50, agreeing=0.5))["kind", "other"]
    assert check.agreement.low < 0.5 < check.agreement.high
    assert check.survives is None
    assert check.balanced is not None


def test_every_reward_meets_every_source_unless_it_speaks_of_one_value():
    rewards = {"kind": Quality(), "brief": Length(sign=-1)}
    sources = [source(5, 5, name="all"), source(5, 5, name="of kind", value="kind")]
    assert list(checks_of(rewards, *sources)) == [
        ("kind", OWN), ("brief", OWN), ("kind", "all"), ("brief", "all"), ("kind", "of kind"),
    ]  # fmt: skip
    assert number_of_checks(list(rewards), sources) == 5


def test_the_own_pairs_are_the_held_out_ones_up_to_the_limit():
    check = checks_of({"kind": Length()}, limit=15)["kind", OWN]
    assert (check.own, check.agreement.n_pairs, check.agreement.accuracy) == (True, 15, 1.0)
    assert check.balanced is None, "all of them are longer"


def test_pairs_whose_prompts_are_trained_on_are_left_out():
    other = source(10, 10)
    data = {"kind": ValueData("kind", other.pairs[:4], value_data("kind").validation, ())}
    check = checks_of({"kind": Quality()}, other, data=data)["kind", "other"]
    assert (check.left_out, check.agreement.n_pairs) == (4, 16)


def test_all_texts_of_a_source_are_scored_at_once_by_one_reward_after_the_other():
    """Heads of one backbone then compute the features of a source once."""
    calls = []

    def reward(name):
        def score(prompts, responses):
            calls.append((name, frozenset(zip(prompts, responses, strict=True))))
            return torch.zeros(len(responses))

        return SimpleNamespace(key=name, score=score)

    checks_of({"kind": reward("kind"), "brief": reward("brief")}, source(3, 3), source(2, 2, name="third"))
    first, second, third, fourth = calls[2:]
    assert (first[0], second[0], third[0], fourth[0]) == ("kind", "brief", "kind", "brief")
    assert first[1] == second[1]
    assert third[1] == fourth[1]


def test_the_record_holds_what_was_measured():
    check = checks_of({"kind": Length()}, source(160, 40))["kind", "other"]
    record = check.to_json()
    assert record["length"]["accuracy"] == check.length.accuracy
    assert record["balanced"]["n_effective"] == pytest.approx(4 * 160 * 40 / 200)
    assert (record["own"], record["left_out"], record["survives"]) == (False, 0, pytest.approx(0))
