"""The contract of judges: which of two answers to a prompt serves a value better."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Verdict = Literal["first", "second", "tie"]


@dataclass(frozen=True)
class Response:
    """What a candidate said, and its reward per value (higher is better)."""

    text: str
    rewards: Mapping[str, float]


@dataclass(frozen=True)
class Question:
    """Which of two responses to the prompt serves the value better? The order is the one in which they are shown."""

    value: str
    prompt: str
    first: Response
    second: Response

    def swapped(self) -> "Question":
        """Ask the same with the responses' positions exchanged."""
        return Question(self.value, self.prompt, self.second, self.first)


@dataclass(frozen=True)
class Answer:
    """A judge's verdict; None where it gave none, and then `problem` says why."""

    verdict: Verdict | None
    problem: str = ""


@dataclass(frozen=True)
class Cost:
    """What is still to be asked: requests, and about how many tokens they take (prompts and answers)."""

    requests: int
    tokens: int


class Judge(Protocol):
    """Compares responses; the same question always gets the same answer."""

    @property
    def record(self) -> Mapping[str, object]:
        """What the judge is, for judgement.json: JSON-able, without secrets."""
        ...

    def estimate(self, questions: Sequence[Question]) -> Cost:
        """Say what `compare` will cost, without asking anything."""
        ...

    def compare(self, questions: Sequence[Question], advance: Callable[[int], None]) -> list[Answer]:
        """Answer each question, in their order; `advance` is told how many were newly answered."""
        ...


class JudgeSpec(Protocol):
    """A judge's settings."""

    def open(self, folder: Path) -> Judge:
        """Make the judge ready; what it has to remember it keeps in `folder`, the run's."""
        ...
