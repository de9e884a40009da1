"""The thoughts of reasoning models: what they write before an answer, and what no reward may score."""

from typing import Literal

from mva.data.preference import user_prompt
from mva.data.template import Template

Strip = Literal["auto"] | bool

# What opens a thought, and what ends it: tags, and the channels of gpt-oss.
THINK = ("<think>", "</think>")
_MARKS = (
    THINK,
    ("[THINK]", "[/THINK]"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
)


def thought_marks(template: Template, strip: Strip) -> tuple[str, str] | None:
    """Find the marks around a thought; None where thoughts are left in.

    `auto` strips where the chat template writes such marks itself; `True` also where it does not (then `<think>`).
    """
    if strip is False:
        return None
    written = template.tokenizer.chat_template or ""
    known = [(opening, closing) for opening, closing in _MARKS if closing.partition("<|message|>")[0] in written]
    return known[0] if known else THINK if strip is True else None


def thought_is_open(template: Template, marks: tuple[str, str]) -> bool:
    """Say whether the generation prompt itself opens a thought, so that a response begins inside of it."""
    prompt, (opening, closing) = template.text(user_prompt("?")), marks
    return prompt.rfind(opening) > prompt.rfind(closing)


def without_thought(text: str, marks: tuple[str, str], *, is_open: bool) -> str:
    """Leave out everything up to the end of the last thought; a thought that does not end leaves nothing.

    `text` holds the special tokens, too; `is_open` says that it begins inside a thought.
    """
    opening, closing = marks
    _, closed, answer = text.rpartition(closing)
    if closed:
        return "" if opening in answer else answer
    return "" if is_open or opening in text else text
