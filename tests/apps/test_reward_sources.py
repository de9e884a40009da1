"""The record of rewards: whose agreement, and whose key."""

import torch

from mva.apps.reward_sources import rewards_record
from mva.data.preference import PreferencePair, ValueData, user_prompt
from mva.rewards.check import check_rewards
from mva.rewards.pessimism import pessimistic


class Unsure:
    """Prefers the longer response, where its members do not agree at all."""

    key = "unsure"

    def score(self, prompts, responses):
        return torch.tensor([float(len(response)) for response in responses])

    def disagreement(self, prompts, responses):
        return 10 * self.score(prompts, responses)


def test_the_key_is_of_what_scores_candidates_and_the_agreement_of_the_reward_itself():
    pairs = tuple(PreferencePair(user_prompt(f"{k}"), "yes yes", "no") for k in range(12))
    rewards, data = {"kind": Unsure()}, {"kind": ValueData("kind", pairs[:4], pairs[4:8], pairs[8:])}
    checks = list(check_rewards(rewards, data))
    plain, careful = (rewards_record(rewards, checks, pessimism=k)["rewards"]["kind"] for k in (0, 1.0))
    assert plain["key"] == "unsure"
    assert careful["key"] == pessimistic(rewards, 1.0)["kind"].key != "unsure"
    assert plain["accuracy"] == careful["accuracy"] == 1
    assert plain["kind"] == careful["kind"] == "Unsure"
