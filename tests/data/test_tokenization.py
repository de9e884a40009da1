"""Pairs as token ids, cut to the limits."""

from dataclasses import replace

import pytest

from mva.data.batched import tokenize_pairs
from mva.data.preference import PreferencePair, user_prompt
from mva.data.sources.base import BadRow
from mva.data.template import Template
from mva.data.tokenization import TokenizedPair, TokenLimits, tokenize_pair
from mva.models.sources.tiny_random import byte_tokenizer

PAIR = PreferencePair(user_prompt("How long?"), "As long as it takes.", "Short.")


@pytest.fixture(scope="module")
def template():
    return Template(byte_tokenizer())


def test_within_the_limits_nothing_is_cut(template):
    (pair,) = tokenize_pairs([PAIR], template, TokenLimits(prompt=512, response=512))
    decode = template.tokenizer.decode
    assert decode(pair.prompt) == "<|im_start|>user\nHow long?<|im_end|>\n<|im_start|>assistant\n"
    assert decode(pair.chosen) == "As long as it takes.<|im_end|>"
    assert decode(pair.rejected) == "Short.<|im_end|>"


def test_a_prompt_loses_the_beginning_of_its_content_and_responses_their_end(template):
    scaffold = len(template.before_ids(user_prompt("")))
    (pair,) = tokenize_pairs([PAIR], template, TokenLimits(prompt=scaffold + 5, response=7))
    assert template.tokenizer.decode(pair.prompt) == "<|im_start|>user\nlong?<|im_end|>\n<|im_start|>assistant\n"
    assert template.tokenizer.decode(pair.chosen) == "As long"
    assert template.tokenizer.decode(pair.rejected) == "Short.<|im_end|>"  # exactly as long as the limit
    assert pair.cut


def test_a_limit_that_the_template_alone_exceeds_is_a_bad_row(template):
    with pytest.raises(BadRow, match=r"here:1: .* take 19 tokens of the prompt's 19"):
        tokenize_pair(replace(PAIR, origin="here:1"), template, TokenLimits(prompt=19, response=7))


def test_pairs_keep_their_order(template):
    pairs = [PreferencePair(user_prompt("Which?"), letter, letter.upper()) for letter in "abc"]
    found = tokenize_pairs(pairs, template, TokenLimits(prompt=64, response=1))
    assert template.tokenizer.decode([pair.chosen[0] for pair in found]) == "abc"
    assert tokenize_pairs([], template, TokenLimits(prompt=64, response=1)) == []


def test_pairs_of_equal_ids_are_equal():
    assert TokenizedPair((1,), (2,), (3,)) == TokenizedPair((1,), (2,), (3,))


@pytest.mark.parametrize("limits", [(0, 5), (5, 0), (-1, 5)])
def test_limits_that_leave_nothing_are_refused(limits):
    with pytest.raises(ValueError, match=r"is (0|-1): choose a whole number of at least 1"):
        TokenLimits(*limits)
