"""Is this still language? Statistics of a response that need no model; words are what white space separates.

They see loops, one word for all purposes, fragments and silence, which is how a model that was pushed too far falls
apart. They do not see fluent nonsense, nor a loop inside of one long word. They depend on how long a response may be:
compare responses that were cut at the same number of tokens.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Statistic:
    """A number of a text; `worse` is the direction (1: higher) in which a model falls apart, 0 if either may be."""

    measure: Callable[[str], float]
    worse: Literal[-1, 0, 1]


def repeated_3grams(text: str) -> float:
    """Give the share of three words in a row that stood there before.

        1 - distinct 3-grams / 3-grams

    0 for fewer than three words. Source: "rep-n" of Welleck et al. 2020, arXiv 1908.04319, Sec. 6.

    Example:
        `a b c a b c` has four, `a b c` twice: 0.25.
    """
    words = _words(text)
    grams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct_words(text: str) -> float:
    """Give the share of the words that are different ones ("distinct-1", arXiv 1510.03055); 1 where there are none."""
    words = _words(text)
    return len(set(words)) / len(words) if words else 1.0


def sentence_length(text: str) -> float:
    """Give the words a sentence, on average; 0 where there are none. A sentence ends with `.`, `!` or `?`."""
    sentences = [words for part in re.split(r"[.!?]+(?:\s|$)", text) if (words := _words(part))]
    return sum(map(len, sentences)) / len(sentences) if sentences else 0.0


def empty(text: str) -> float:
    """Say whether there is no word: 1 or 0."""
    return float(not _words(text))


def length(text: str) -> float:
    """Count the words."""
    return float(len(_words(text)))


STATISTICS = {
    "repeated 3-grams": Statistic(repeated_3grams, worse=1),
    "distinct words": Statistic(distinct_words, worse=-1),
    "words a sentence": Statistic(sentence_length, worse=-1),
    "empty": Statistic(empty, worse=1),
    "words": Statistic(length, worse=0),
}


def _words(text: str) -> list[str]:
    return text.casefold().split()
