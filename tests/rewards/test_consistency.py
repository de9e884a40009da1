"""Which pairs the values agree on, by hand."""

from types import SimpleNamespace

import pytest
import torch

from mva.data.preference import PreferencePair, ValueData, user_prompt
from mva.rewards.consistency import Consistency, consistency


def reward(scores):
    return SimpleNamespace(
        key="r", score=lambda _prompts, responses: torch.tensor([float(scores[text]) for text in responses])
    )


def value_data(value, *pairs):
    made = tuple(
        PreferencePair(user_prompt(f"{chosen} or {rejected}?"), chosen, rejected) for chosen, rejected in pairs
    )
    return ValueData(value, made, made, made)


def test_consistency_is_the_cosine_with_the_vector_of_ones():
    gaps = torch.tensor([[2.0, 2.0], [1.0, 0.0], [1.0, -1.0], [-3.0, -3.0], [0.0, 0.0], [3.0, 4.0]])
    expected = [1.0, 0.5**0.5, 0.0, -1.0, 0.0, 7 / (5 * 2**0.5)]
    assert consistency(gaps).tolist() == pytest.approx(expected)


def test_pairs_that_cost_another_value_more_than_they_gain_are_left_out():
    # Gaps of the one pair of `kind`: (1, -3); of `brief`: (1, 1) and (2, 0). The scales: sqrt(6/3), sqrt(10/3).
    kind = reward({"a": 1, "b": 0, "c": 1, "d": 0, "e": 2, "f": 0})
    brief = reward({"a": -3, "b": 0, "c": 1, "d": 0, "e": 0, "f": 0})
    data = {"kind": value_data("kind", ("c", "d"), ("a", "b")), "brief": value_data("brief", ("e", "f"))}
    kept = Consistency(threshold=0.0).select(data, {"kind": kind, "brief": brief})
    assert [pair.chosen for pair in kept["kind"].train] == ["c"]
    assert kept["brief"].train == data["brief"].train
    assert kept["kind"].validation == data["kind"].validation


def test_a_rewards_unit_changes_nothing():
    scores = {"a": 1, "b": 0, "c": 1, "d": 0}
    other = {"a": -0.9, "b": 0, "c": 2, "d": 0}
    data = {"kind": value_data("kind", ("a", "b"), ("c", "d"))}
    small, large = (
        Consistency(0.0).select(
            data, {"kind": reward(scores), "brief": reward({k: s * unit for k, s in other.items()})}
        )
        for unit in (1, 1000)
    )
    assert small == large
    assert len(small["kind"].train) == 2  # 1 / 1 outweighs 0.9 / 1.55


def test_a_value_without_pairs_left_is_refused_with_what_to_do():
    data = {"kind": value_data("kind", ("a", "b"))}
    with pytest.raises(ValueError, match=r"No pair of 'kind' has a consistency of filter.threshold=0.5: lower it"):
        Consistency(0.5).select(data, {"kind": reward({"a": 0, "b": 1})})


@pytest.mark.parametrize("threshold", [-1.0, 1.0, 3.0])
def test_a_threshold_that_is_no_cosine_is_refused(threshold):
    with pytest.raises(ValueError, match=r"^threshold is"):
        Consistency(threshold)
