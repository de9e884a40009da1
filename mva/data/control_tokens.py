"""Control tokens (`<|im_end|>`, `</s>`): what a chat template writes, and a text can't."""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import zip_longest

from transformers import PreTrainedTokenizerBase

from mva.data.rendering import RefusedDialogue

_FIRST_PLACEHOLDER = 0xE000  # the private use area: no text of a known script holds these characters
_HARMLESS = "x"
# SentencePiece puts a blank before the first stretch of a text, and not before the others.
_CONTEXTS = ("", "\n")

Render = Callable[[Sequence[str]], str]


class ControlTokens:
    """The control tokens of one tokenizer. Inside a text they are ordinary characters, with ordinary tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """The tokens' texts, the longest first. Turn marks may be special without a role."""
        added = [token.content for token in self._tokenizer.added_tokens_decoder.values() if token.special]
        marks = {*map(str, self._tokenizer.all_special_tokens), *added} - {""}
        return tuple(sorted(marks, key=lambda mark: (-len(mark), mark)))

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
        if not any(self._pattern.search(content) for content in contents):
            return self._encode(render(contents))
        placeholders = {mark: chr(_FIRST_PLACEHOLDER + k) for k, mark in enumerate(self.marks)}
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
        return list(self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=as_text))


def _replace_all(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text
