"""The vocabulary of preference data: messages, dialogues, pairs, and what one value brings."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Role = Literal["system", "user", "assistant"]
Split = Literal["train", "validation", "test"]


class Message(NamedTuple):
    """One turn of a dialogue."""

    role: Role
    content: str


Dialogue = tuple[Message, ...]


def user_prompt(text: str) -> Dialogue:
    """Wrap plain text as a dialogue of one user turn."""
    return (Message("user", text),)


def prompt_id(prompt: Dialogue) -> str:
    """Name a prompt by its content: the first 16 hex digits of the sha256 of its turns."""
    return hashlib.sha256(json.dumps(prompt, ensure_ascii=False).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """A prompt with a preferred and a dispreferred response.

    `origin` says where the pair comes from (`file:line`), for messages to the user, `note` how its texts were mended,
    and `cluster` with which other prompts its prompt belongs together; they are no part of the pair's identity.
    """

    prompt: Dialogue
    chosen: str
    rejected: str
    origin: str = ""
    note: str = field(default="", compare=False)
    cluster: str = field(default="", compare=False)


@dataclass(frozen=True)
class ValueData:
    """All preference pairs of one value. Splits are by prompt: no prompt stands in two of them."""

    value: str
    train: tuple[PreferencePair, ...]
    validation: tuple[PreferencePair, ...]
    test: tuple[PreferencePair, ...]

    def splits(self) -> Iterator[tuple[Split, tuple[PreferencePair, ...]]]:
        """Iterate over `(split, pairs)`."""
        yield "train", self.train
        yield "validation", self.validation
        yield "test", self.test
