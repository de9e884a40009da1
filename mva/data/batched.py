"""Tokenise many pairs with few calls: fast tokenizers take lists, and work on them with threads of their own.

The ids are those of `tokenize_pair`. A pair that needs more than its texts' ids (its prompt is too long, a text holds
what looks like a control token, the template refuses it) is given to `tokenize_pair` itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest

from mva.data.preference import PreferencePair, user_prompt
from mva.data.rendering import RefusedDialogue
from mva.data.sources.base import BadRow
from mva.data.template import Template
from mva.data.tokenization import TokenizedPair, TokenLimits, cut_answers, tokenize_pair

_PAIRS = 2048  # of a call: their texts and ids take some 20 MB
_PROVEN = 16  # pairs of every call that are also tokenised with no cut

Tokens = TokenizedPair | BadRow
Texts = tuple[str, list[str]]  # what stands before the answers, and the conversation with each of them
Ids = tuple[list[int], list[list[int]]]


def tokenize_each(pairs: Sequence[PreferencePair], template: Template, limits: TokenLimits) -> Iterator[Tokens]:
    """Tokenise pairs in their order; a pair that can't be used gives a `BadRow`."""
    encoder = _Encoder(template)
    shared = list(range(len(template.tokenizer)))  # an id is one object for all pairs: 8 bytes a token instead of 36
    parts = [pairs[start : start + _PAIRS] for start in range(0, len(pairs), _PAIRS)]
    rendered = [_texts(pair, template) for pair in chain(*parts[:1])]
    with ThreadPoolExecutor(1) as pool:
        for part, following in zip_longest(parts, parts[1:], fillvalue=()):
            encoded = pool.submit(encoder.ids, rendered)
            rendered = [_texts(pair, template) for pair in following]  # nothing that needs the tokenizer's library
            for pair, ids in zip(part, encoded.result(), strict=True):
                yield _alone(pair, template, limits) if ids is None else _pair(pair, ids, template, limits, shared)


def tokenize_pairs(pairs: Sequence[PreferencePair], template: Template, limits: TokenLimits) -> list[TokenizedPair]:
    """Tokenise pairs.

    Raises:
        BadRow: For the first pair that the template refuses, or whose prompt can't be cut to the limit.
    """
    tokenized = []
    for tokens in tokenize_each(pairs, template, limits):
        if isinstance(tokens, BadRow):
            raise tokens
        tokenized.append(tokens)
    return tokenized


def _texts(pair: PreferencePair, template: Template) -> Texts | None:
    """Render a pair; None where its ids are not simply those of its texts."""
    contents = [*(turn.content for turn in pair.prompt), pair.chosen, pair.rejected]
    try:
        template.rendering.check(pair.prompt)
        return None if template.control_tokens.stand_in(contents) else template.texts(pair.prompt, contents[-2:])
    except RefusedDialogue:
        return None


def _alone(pair: PreferencePair, template: Template, limits: TokenLimits) -> Tokens:
    try:
        return tokenize_pair(pair, template, limits)
    except BadRow as bad:
        return bad


def _pair(pair: PreferencePair, ids: Ids, template: Template, limits: TokenLimits, shared: Sequence[int]) -> Tokens:
    before, wholes = ids
    if len(before) > limits.prompt:
        return _alone(pair, template, limits)
    answers = cut_answers([template.parted(before, whole) for whole in wholes], limits)
    prompt, chosen, rejected = (tuple(map(shared.__getitem__, ids)) for ids in (answers.prompt, *answers.answers))
    return TokenizedPair(prompt, chosen, rejected, pair, answers.cut, answers.spans)


@dataclass(frozen=True)
class _Encoder:
    """Tokenise the texts of pairs, and what the texts of a pair share only once.

    A fast tokenizer parts a text at its control tokens first, and tokenises what lies between them by itself. So a
    text may be tokenised in two parts that overlap in a control token.
    """

    template: Template

    def ids(self, texts: Sequence[Texts | None]) -> list[Ids | None]:
        """Tokenise the texts of each pair."""
        in_parts = self._encoded(texts, *self._cut)
        first = [row for row, text in enumerate(texts) if text is not None][:_PROVEN]
        whole = self._encoded([texts[row] for row in first], "", "")
        return in_parts if whole == [in_parts[row] for row in first] else self._encoded(texts, "", "")

    @cached_property
    def _cut(self) -> tuple[str, str]:
        """The last control token before answers, and what prompts end with from it on; empty: texts stay whole."""
        tokenizer, before = self.template.tokenizer, self.template.texts(user_prompt("?"), [])[0]
        added = [token for token in tokenizer.added_tokens_decoder.values() if token.special]
        clean = [token.content for token in added if not (token.normalized or token.single_word)]
        starts = [(start, len(mark), mark) for mark in clean if (start := before.rfind(mark)) >= 0]
        if not starts or not tokenizer.is_fast:
            return "", ""
        start, _, mark = max(starts)
        return mark, before[start:]

    def _encoded(self, texts: Iterable[Texts | None], mark: str, tail: str) -> list[Ids | None]:
        parted = [None if text is None else _parted(*text, mark, tail) for text in texts]
        ids = self._call(part for parts in parted if parts is not None for part in parts)
        return [None if parts is None else self._joined([ids[part] for part in parts]) for parts in parted]

    def _joined(self, parts: Sequence[list[int]]) -> Ids | None:
        head, *ends = parts
        if head and any(end[0] != head[-1] for end in ends):  # the control token was read otherwise: never seen
            return None
        before, *wholes = [self.template.with_bos(head[:-1] + end) for end in ends]
        return before, wholes

    def _call(self, texts: Iterable[str]) -> Mapping[str, list[int]]:
        distinct = [text for text in dict.fromkeys(texts) if text]
        if not distinct:
            return {"": []}
        options = {"return_attention_mask": False, "return_token_type_ids": False, "split_special_tokens": False}
        encoded = self.template.tokenizer(distinct, add_special_tokens=False, **options)
        return {"": [], **dict(zip(distinct, encoded["input_ids"], strict=True))}


def _parted(before: str, wholes: Sequence[str], mark: str, tail: str) -> list[str]:
    """Part the texts of a pair: their common head, which ends with `mark`, and what each has from that mark on."""
    if not tail or not before.endswith(tail):
        return ["", before, *wholes]
    start = len(before) - len(tail)
    return [before[: start + len(mark)], tail, *(whole[start:] for whole in wholes)]
