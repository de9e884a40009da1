"""Control tokens (`<|im_end|>`, `</s>`): what a chat template writes, and a text can't."""

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import chain, zip_longest

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

from mva.data.rendering import RefusedDialogue

_PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))  # no text of a known script holds these characters
# What is written around a thought keeps its ids in a text: answers may hold thoughts.
_AROUND_THOUGHTS = re.compile("think|thought|reason", re.IGNORECASE)
_MARK = re.compile(r"\W\S*\w\S*\W")  # <|user|>, [INST]; an added word or a run of blanks is none
_HARMLESS = "x"
# SentencePiece puts a blank before the first stretch of a text, and not before the others.
_CONTEXTS = ("", "\n")

Render = Callable[[Sequence[str]], str]


class ControlTokens:
    """The control tokens of one tokenizer. Inside a text they are ordinary characters, with ordinary tokens.

    These are its special tokens, and the added ones that its chat template writes around texts (`scaffold`): many
    fine-tuned models add their turn marks without calling them special.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, scaffold: str = "") -> None:
        self._tokenizer = tokenizer
        self._scaffold = scaffold

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """The tokens' texts, the longest first."""
        added = [token.content for token in self._tokenizer.added_tokens_decoder.values() if token.special]
        marks = {*map(str, self._tokenizer.all_special_tokens), *added, *self._turn_marks} - {""}
        return tuple(sorted(marks, key=lambda mark: (-len(mark), mark)))

    @cached_property
    def _turn_marks(self) -> list[str]:
        """Added tokens of the scaffold that the tokenizer does not call special."""
        ordinary = [token.content for token in self._tokenizer.added_tokens_decoder.values() if not token.special]
        return [mark for mark in ordinary if mark in self._scaffold and _is_turn_mark(mark)]

    @cached_property
    def _reader(self) -> PreTrainedTokenizerBase:
        """The tokenizer that reads control tokens as text: it can only do so with those that are special."""
        if not self._turn_marks:
            return self._tokenizer
        reader = copy.deepcopy(self._tokenizer)
        marks = [AddedToken(mark, normalized=False, special=True) for mark in self._turn_marks]
        reader.add_tokens(marks, special_tokens=True)
        return reader

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # The longest mark comes first. Without any mark the pattern matches nothing.
        return re.compile(f"({'|'.join(map(re.escape, self.marks)) or '(?!)'})")

    def found_in(self, text: str) -> list[str]:
        """List the control tokens that stand in a text."""
        return [mark for mark in self.marks if mark in text]

    def encode(self, render: Render, contents: Sequence[str], *, strict: bool = True) -> list[int]:
        """Tokenise `render(contents)`; only what `render` itself writes becomes control tokens.

        Raises:
            RefusedDialogue: If a content holds a control token's text, and this tokenizer gives a text other tokens
                when it is tokenised in stretches. Not raised unless `strict`.
        """
        if not self.stand_in(contents):
            return self._encode(render(contents))
        present = [mark for mark in self.marks if any(mark in content for content in contents)]
        taken = {*render(contents), *chain.from_iterable(self.marks)}
        placeholders = dict(zip(present, _characters_outside(taken), strict=False))
        text = render([_replace_all(content, placeholders) for content in contents])
        harmless = dict.fromkeys(placeholders.values(), _HARMLESS)
        probe = _replace_all(text, harmless)
        expected = self._encode(probe)
        contexts = [context for context in _CONTEXTS if self._by_stretches(probe, {}, context) == expected]
        if strict and not contexts:
            mark = next(mark for content in contents for mark in self.found_in(content))
            raise RefusedDialogue(f"a text holds the control token {mark!r}, which this tokenizer can't read as text")
        originals = {placeholder: mark for mark, placeholder in placeholders.items()}
        return self._by_stretches(text, originals, [*contexts, ""][0])

    def stand_in(self, contents: Iterable[str]) -> bool:
        """Say whether a content holds the text of a control token."""
        return any(self._holds_mark(content) for content in contents)

    def _holds_mark(self, content: str) -> bool:
        # Most texts lack the marks' first characters (`<`, `[`), which is seen faster than a pattern is matched.
        return any(character in content for character in self._first_characters) and bool(self._pattern.search(content))

    @cached_property
    def _first_characters(self) -> set[str]:
        return {mark[0] for mark in self.marks}

    def _by_stretches(self, text: str, originals: dict[str, str], context: str) -> list[int]:
        """Tokenise the stretches between control tokens one by one, as ordinary text with `originals` put back.

        All but the first are tokenised behind `context`, whose ids are left out again.
        """
        ids: list[int] = []
        n_context = len(self._encode(context))
        pieces = self._pattern.split(text)  # stretches and marks in turn
        for stretch, mark in zip_longest(pieces[::2], pieces[1::2], fillvalue=""):
            if stretch:
                before, n_before = (context, n_context) if ids else ("", 0)
                ids += self._encode(before + _replace_all(stretch, originals), as_text=True)[n_before:]
            if mark:
                ids.append(int(self._tokenizer.convert_tokens_to_ids(mark)))
        return ids

    def _encode(self, text: str, *, as_text: bool = False) -> list[int]:
        tokenizer = self._reader if as_text else self._tokenizer
        return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=as_text))


def _is_turn_mark(token: str) -> bool:
    return bool(_MARK.fullmatch(token)) and not _AROUND_THOUGHTS.search(token)


def _characters_outside(taken: set[str]) -> Iterable[str]:
    return (chr(code) for code in chain(*_PRIVATE_USE) if chr(code) not in taken)


def _replace_all(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text
