"""What a judge's reply says: a JSON object with a winner, in whatever wrapping models put it."""

import json
import re
from collections.abc import Iterator
from typing import Any

from mva.data.reasoning import THINK, without_thought
from mva.judging.base import Verdict

# Letters are the answers in the order in which they are presented.
_VERDICTS: dict[str, Verdict] = {
    "first": "first",
    "second": "second",
    "tie": "tie",
    "draw": "tie",
    "a": "first",
    "b": "second",
}
_WORD = "|".join(_VERDICTS)
_FIELD = re.compile(rf"""["']?\bwinner\b["']?\s*[:=]\s*["']?({_WORD})\b["']?""", re.IGNORECASE)
_ALONE = re.compile(rf"^(?:the\s+)?(?:answer\s+)?({_WORD})(?:\s+answer)?$", re.IGNORECASE)


def read_verdict(content: str | None) -> Verdict | None:
    """Read the winner that a reply names.

    A thought before the verdict is passed over; one that does not end holds no verdict. An object's field `winner`
    counts, else the whole reply as one word. Where fields contradict each other there is no verdict.
    """
    answer = without_thought(content or "", THINK, is_open=False).strip()
    winners = set(_winners(answer)) or {_VERDICTS[word.lower()] for word in _FIELD.findall(answer)}
    if not winners and (alone := _ALONE.match(answer.strip("*_`\"'.!{}[]() \n"))):
        winners = {_VERDICTS[alone[1].lower()]}
    return winners.pop() if len(winners) == 1 else None


def _winners(text: str) -> Iterator[Verdict]:
    """Read the field `winner` of every JSON object in a text."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        end = start + 1
        try:
            record, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            pass
        else:
            yield from _winner_of(record)
        start = text.find("{", end)


def _winner_of(record: Any) -> Iterator[Verdict]:
    for name, value in record.items() if isinstance(record, dict) else ():
        verdict = _VERDICTS.get(value.strip().lower()) if isinstance(value, str) else None
        if name.strip().lower() == "winner" and verdict is not None:
            yield verdict
