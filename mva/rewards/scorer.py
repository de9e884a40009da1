"""Scoring responses with one reward per value: equal responses to a prompt are scored once."""

import math
from collections.abc import Mapping, Sequence

from mva.data.preference import Dialogue, prompt_id
from mva.rewards.base import Reward

Text = tuple[Dialogue, str]


class NonFiniteReward(ValueError):
    """A reward that is NaN or infinite: no score can be made of it."""


class Scorer:
    """Scores (prompt, response) texts; `known` are rewards by text that were computed before."""

    def __init__(self, rewards: Mapping[str, Reward], known: Mapping[Text, Mapping[str, float]] | None = None) -> None:
        self._rewards = rewards
        self._known = dict(known or {})

    def __call__(self, texts: Sequence[Text]) -> list[Mapping[str, float]]:
        """Score texts, those that are new in one batch.

        Returns:
            The rewards by value, one mapping a text.

        Raises:
            NonFiniteReward: If a reward is NaN or infinite.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            prompts, responses = zip(*new, strict=True)
            columns = {value: reward.score(prompts, responses).tolist() for value, reward in self._rewards.items()}
            for k, text in enumerate(new):
                rewards = {value: column[k] for value, column in columns.items()}
                self._known[text] = _finite(rewards, text)
        return [self._known[text] for text in texts]


def _finite(rewards: Mapping[str, float], text: Text) -> Mapping[str, float]:
    for value, reward in rewards.items():
        if not math.isfinite(reward):
            prompt, response = text
            raise NonFiniteReward(
                f"The reward of '{value}' is {reward} for the response {response[:80]!r} to the prompt "
                f"{prompt_id(prompt)} ({prompt[-1].content[:80]!r}): mend the reward or leave the prompt out."
            )
    return rewards
