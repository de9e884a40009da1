"""The judge that needs no network: the rewards that the run has already given to the responses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from mva.judging.base import Answer, Cost, Judge, Question


@dataclass(frozen=True)
class Rewards:
    """The response with the higher reward of the value wins; equal rewards are a tie."""

    def open(self, folder: Path) -> Judge:
        """Be ready: there is nothing to remember."""
        return self

    @property
    def record(self) -> Mapping[str, object]:
        """Name the judge."""
        return {"kind": "rewards"}

    def estimate(self, questions: Sequence[Question]) -> Cost:
        """Nothing is asked of anybody."""
        return Cost(0, 0)

    def compare(self, questions: Sequence[Question], advance: Callable[[int], None]) -> list[Answer]:
        """Compare the stored rewards.

        Raises:
            ValueError: If a response has no finite reward of the value.
        """
        answers = [_answer(question) for question in questions]
        advance(len(answers))
        return answers


def _answer(question: Question) -> Answer:
    rewards = [side.rewards.get(question.value) for side in (question.first, question.second)]
    first, second = (reward if reward is not None and isfinite(reward) else None for reward in rewards)
    if first is None or second is None:
        raise ValueError(f"A response has no reward of '{question.value}': judge with judge=endpoint, or score it.")
    return Answer("tie" if first == second else "first" if first > second else "second")
