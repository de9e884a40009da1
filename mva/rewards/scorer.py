"""Scoring responses with one reward per value: equal responses to a prompt are scored once."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mva.data.preference import Dialogue, prompt_id
from mva.rewards.base import EnsembleReward, Reward

Text = tuple[Dialogue, str]
KNOWN = 100_000
"""Texts whose rewards are remembered; beyond that the oldest are forgotten, and scored again if they come back."""


class NonFiniteReward(ValueError):
    """A reward that is NaN or infinite: no score can be made of it."""


class Scored(NamedTuple):
    """A response's rewards by value, and the `disagreement` of those that are ensembles."""

    rewards: Mapping[str, float]
    disagreement: Mapping[str, float]


def ensembles(rewards: Mapping[str, Reward]) -> dict[str, EnsembleReward]:
    """Choose the rewards that know of disagreement."""
    return {value: reward for value, reward in rewards.items() if isinstance(reward, EnsembleReward)}


class Scorer:
    """Scores (prompt, response) texts, and remembers the rewards of the last `KNOWN` different ones."""

    def __init__(self, rewards: Mapping[str, Reward]) -> None:
        self._rewards = rewards
        self._ensembles = ensembles(rewards)
        self._known: dict[bytes, Scored] = {}

    def __call__(self, texts: Sequence[Text]) -> list[Scored]:
        """Score texts, those that are new in one batch.

        Raises:
            NonFiniteReward: If a reward is NaN or infinite.
        """
        names = [_name(text) for text in texts]
        new = {name: text for name, text in zip(names, texts, strict=True) if name not in self._known}
        answers = {name: self._known[name] for name in names if name not in new}
        if new:
            prompts, responses = zip(*new.values(), strict=True)
            columns = {value: reward.score(prompts, responses).tolist() for value, reward in self._rewards.items()}
            spread = {
                value: reward.disagreement(prompts, responses).tolist() for value, reward in self._ensembles.items()
            }
            for k, (name, text) in enumerate(new.items()):
                rewards = _finite({value: column[k] for value, column in columns.items()}, text)
                answers[name] = Scored(rewards, {value: column[k] for value, column in spread.items()})
                self._remember(name, answers[name])
        return [answers[name] for name in names]

    def remember(self, text: Text, scored: Scored) -> None:
        """Note the rewards of a text that was scored before."""
        self._remember(_name(text), scored)

    def _remember(self, name: bytes, scored: Scored) -> None:
        self._known.setdefault(name, scored)
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]


def _name(text: Text) -> bytes:
    prompt, response = text
    return hashlib.blake2b(f"{prompt_id(prompt)} {response}".encode(), digest_size=16).digest()


def _finite(rewards: Mapping[str, float], text: Text) -> Mapping[str, float]:
    for value, reward in rewards.items():
        if not math.isfinite(reward):
            prompt, response = text
            raise NonFiniteReward(
                f"The reward of '{value}' is {reward} for the response {response[:80]!r} to the prompt "
                f"{prompt_id(prompt)} ({prompt[-1].content[:80]!r}): mend the reward or leave the prompt out."
            )
    return rewards
