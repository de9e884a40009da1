"""How the rows of a data set become preference pairs: one class per form."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, Any, Literal, Protocol

from mva.checks import UNIQUE, Rule, Text, check
from mva.data.dialogues import (
    check_encodable,
    checked_prompt,
    goes_on_for_the_human,
    holds_a_label,
    marked_dialogue,
    read_answer,
    read_prompt,
    split_messages,
    split_transcript,
)
from mva.data.preference import Dialogue, PreferencePair
from mva.data.sources.base import BadRow, Row

TwoColumns = Annotated[Sequence[Text], Rule(lambda names: len(names) == 2, " of the two responses' columns"), UNIQUE]
GOES_ON = "a transcript goes on for the human behind the last assistant turn: cut there"
LABEL_LEFT = "a line that begins with a speaker's label is read as text"


class PairFormat(Protocol):
    """A plug-in that reads the pairs of one row."""

    def pairs(self, row: Row) -> Iterator[PreferencePair]:
        """Yield the row's pairs (none, one or several).

        Raises:
            BadRow: If a field is missing or unusable.
        """
        ...


@dataclass(frozen=True)
class PairColumns:
    """Columns for prompt, chosen and rejected response.

    Each is plain text or a list of chat messages. `chosen` and `rejected` may hold the whole dialogue: the turns
    before the last are then the prompt, and must begin with the prompt column's (`prompt` null where there is none).
    With `dialogue` plain-text prompts are read as labelled turns.
    """

    prompt: Text | None = "prompt"
    chosen: Text = "chosen"
    rejected: Text = "rejected"
    dialogue: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def pairs(self, row: Row) -> Iterator[PreferencePair]:
        """Yield the row's pair."""
        chosen, rejected = field(row, self.chosen), field(row, self.rejected)
        if self.prompt is None:
            yield _same_prompt(row, split_messages(row.origin, chosen), split_messages(row.origin, rejected))
        else:
            prompt = field(row, self.prompt)
            better, worse = (read_answer(row.origin, prompt, a, labelled=self.dialogue) for a in (chosen, rejected))
            pair = _same_prompt(row, better, worse)
            yield _labels_noted(pair) if self.dialogue else pair


@dataclass(frozen=True)
class Transcripts:
    """Two labelled transcripts that differ in the last assistant turn (Anthropic/hh-rlhf).

    Where a transcript goes on for the human behind that turn, it is cut there, and the pair's `note` says so.
    """

    chosen: Text = "chosen"
    rejected: Text = "rejected"

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def pairs(self, row: Row) -> Iterator[PreferencePair]:
        """Yield the row's pair."""
        transcripts = field(row, self.chosen), field(row, self.rejected)
        chosen, rejected = (split_transcript(row.origin, transcript) for transcript in transcripts)
        pair = _same_prompt(row, chosen, rejected)
        yield replace(pair, note=GOES_ON) if any(map(goes_on_for_the_human, transcripts)) else _labels_noted(pair)


@dataclass(frozen=True)
class IndexedPair:
    """Two responses and the index (0 or 1) of the better one (PKU-SafeRLHF and its kin)."""

    better: Text
    prompt: Text = "prompt"
    responses: TwoColumns = ("response_0", "response_1")

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def pairs(self, row: Row) -> Iterator[PreferencePair]:
        """Yield the row's pair."""
        better = field(row, self.better)
        if isinstance(better, bool) or better not in (0, 1):
            raise BadRow(row.origin, f"'{self.better}' is {better!r}, expected 0 or 1")
        first, second = (field(row, name) for name in self.responses)
        prompt = read_prompt(row.origin, field(row, self.prompt))
        yield _pair(row, prompt, *((first, second) if better == 0 else (second, first)))


@dataclass(frozen=True)
class StrengthPair:
    """Two responses and a signed strength (HelpSteer2's preferences).

    Positive where the second response is better, negative where the first is; a tie (0) gives no pair. HelpSteer2's
    marks of turns in the prompt (`<extra_id_1>User`) become turns.
    """

    strength: Text = "preference_strength"
    prompt: Text = "prompt"
    responses: TwoColumns = ("response_1", "response_2")

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def pairs(self, row: Row) -> Iterator[PreferencePair]:
        """Yield the row's pair; a tie has none."""
        strength = number(row, self.strength, field(row, self.strength))
        first, second = (field(row, name) for name in self.responses)
        text = field(row, self.prompt)
        prompt = read_prompt(row.origin, text)
        if isinstance(text, str):
            prompt = checked_prompt(row.origin, marked_dialogue(text))
        if strength != 0:
            yield _pair(row, prompt, *((first, second) if strength < 0 else (second, first)))


@dataclass(frozen=True)
class GradedResponses:
    """A prompt with graded responses (the bundled data): a pair for every two with different grades."""

    grade: Text

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def pairs(self, row: Row) -> Iterator[PreferencePair]:
        """Yield the pairs, the higher grade chosen."""
        prompt, responses = read_prompt(row.origin, field(row, "prompt")), _responses(row)
        graded = [(number(row, self.grade, response.get(self.grade)), response["text"]) for response in responses]
        for first, second in combinations(graded, 2):
            if first[0] != second[0]:
                (_, better), (_, worse) = sorted((first, second), key=lambda response: -response[0])
                yield _pair(row, prompt, better, worse)


@dataclass(frozen=True)
class LengthRanked:
    """The same rows, ranked by a rule instead of by grades: the shorter or the longer one (in words) wins."""

    prefer: Literal["short", "long"]

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def pairs(self, row: Row) -> Iterator[PreferencePair]:
        """Yield a pair for every two responses of different lengths."""
        prompt = read_prompt(row.origin, field(row, "prompt"))
        texts = sorted((r["text"] for r in _responses(row)), key=lambda text: len(text.split()))
        for short, long in combinations(texts, 2):
            if len(short.split()) != len(long.split()):
                yield _pair(row, prompt, *((short, long) if self.prefer == "short" else (long, short)))


def field(row: Row, name: str) -> object:
    """Take a field of a row.

    Raises:
        BadRow: If it is missing or empty; the message lists the fields that are there.
    """
    value = row.fields.get(name)
    if value is None:
        there = ", ".join(row.fields) or "none"
        raise BadRow(row.origin, f"the field '{name}' is missing (there are: {there})")
    return value


def number(row: Row, name: str, value: object) -> float:
    """Take a number that decides an order.

    Raises:
        BadRow: If it is no number, true or false, or not finite: a missing grade must not become a preference.
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return value
    except OverflowError:
        pass
    raise BadRow(row.origin, f"'{name}' must be a finite number, not {value!r}")


def _responses(row: Row) -> Sequence[Mapping[str, Any]]:
    responses = field(row, "responses")
    if not isinstance(responses, Sequence) or isinstance(responses, str):
        raise BadRow(row.origin, f"'responses' is no list but {type(responses).__name__}")
    if not all(isinstance(r, Mapping) and isinstance(r.get("text"), str) for r in responses):
        raise BadRow(row.origin, "a response has no 'text'")
    return responses


def _same_prompt(row: Row, chosen: tuple[Dialogue, str], rejected: tuple[Dialogue, str]) -> PreferencePair:
    if chosen[0] != rejected[0]:
        raise BadRow(row.origin, "the chosen and the rejected dialogue have different prompts")
    return _pair(row, chosen[0], chosen[1], rejected[1])


def _labels_noted(pair: PreferencePair) -> PreferencePair:
    texts = [pair.chosen, pair.rejected, *(turn.content for turn in pair.prompt)]
    return replace(pair, note=LABEL_LEFT) if holds_a_label(texts) else pair


def _pair(row: Row, prompt: Dialogue, chosen: object, rejected: object) -> PreferencePair:
    better, worse = _response(row, "chosen", chosen), _response(row, "rejected", rejected)
    if better == worse:
        raise BadRow(row.origin, "the two responses are identical")
    return PreferencePair(prompt, better, worse, row.origin)


def _response(row: Row, name: str, response: object) -> str:
    if not isinstance(response, str):
        raise BadRow(row.origin, f"the {name} response is no text but {type(response).__name__}")
    if not response.strip():
        raise BadRow(row.origin, f"the {name} response is empty")
    check_encodable(row.origin, response)
    return response.strip()
