"""What is taken off a reward whose members disagree."""

import pytest
import torch

from mva.data.preference import user_prompt
from mva.rewards.base import EnsembleReward
from mva.rewards.length import Length
from mva.rewards.pessimism import pessimistic

PROMPTS = [user_prompt("Hi")] * 3


class Unsure:
    key = "unsure"

    def score(self, prompts, responses):
        return torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def disagreement(self, prompts, responses):
        return torch.tensor([0.5, 0.0, 2.0], dtype=torch.float64)


def test_so_many_standard_deviations_are_taken_off_every_response():
    reward = pessimistic({"kind": Unsure()}, 1.5)["kind"]
    assert reward.score(PROMPTS, ["a", "b", "c"]).tolist() == [0.25, 2.0, 0.0]
    assert reward.disagreement(PROMPTS, ["a", "b", "c"]).tolist() == [0.5, 0.0, 2.0]
    assert isinstance(reward, EnsembleReward)


def test_none_taken_off_is_the_reward_itself():
    unsure = Unsure()
    assert pessimistic({"kind": unsure}, 0)["kind"] is unsure


def test_keys_tell_how_many_were_taken_off():
    keys = [pessimistic({"kind": Unsure()}, k)["kind"].key for k in (0, 1, 2)]
    assert len(set(keys)) == 3
    assert keys[0] == "unsure"


def test_rewards_without_an_ensemble_are_refused():
    with pytest.raises(ValueError, match=r"The reward of 'brief' is no ensemble.*evaluation.pessimism be 0"):
        pessimistic({"brief": Length()}, 1.0)
