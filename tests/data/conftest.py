"""Conversations, and the oracle that every tokenising is held against."""

import random
from datetime import datetime

import pytest
from transformers.utils import chat_template_utils

from mva.data.preference import Message

TURNS = (Message("user", "Name a tea."), Message("assistant", "Green."), Message("user", "  And another, in 2 words?"))
ANSWERS = ("Black tea, 1 cup.", "12", "(no)", "\u00e9t\u00e9 \U0001f642", "a  b\n\n- c", ". . .", "Yes")
WORDS = [
    "tea",
    "\n",
    "\n\n",
    "  ",
    "1",
    "23",
    "don't",
    "\u4f60\u597d",
    "#",
    "**bold**",
    "\t",
    "...",
    "e\u0301",
    "/no",
    "\U0001f642",
]


@pytest.fixture(scope="session")
def dialogues():
    """One turn, several turns, a system turn, an empty system turn."""
    return [TURNS[:1], TURNS, (Message("system", "Be kind."), *TURNS), (Message("system", ""), *TURNS[:1])]


@pytest.fixture(scope="session")
def answers():
    """Answers that begin and end in many ways, and random ones."""
    draw = random.Random(0)
    sampled = ["".join(draw.choices(WORDS, k=draw.randint(1, 12))).strip() or "x" for _ in range(25)]
    return [*ANSWERS, *sampled]


@pytest.fixture
def clock(monkeypatch):
    """Set the date that chat templates ask for."""

    def set_to(year, month, day):
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return cls(year, month, day, tzinfo=tz)

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)

    return set_to


@pytest.fixture
def conversation_oracle(clock):
    """The ids that the tokenizer's own `apply_chat_template` gives for the whole conversation, on 26 July 2024."""
    clock(2024, 7, 26)

    def tokenize(tokenizer, dialogue, answer, **kwargs):
        messages = [turn._asdict() for turn in (*dialogue, Message("assistant", answer))]
        return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **kwargs)

    return tokenize
