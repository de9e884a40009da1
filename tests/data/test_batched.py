"""Pairs tokenised together: the ids, counts and messages are those of one pair at a time."""

import gc
from itertools import product

import pytest

from mva.data import batched
from mva.data.batched import tokenize_each, tokenize_pairs
from mva.data.collector import paused
from mva.data.preference import Message, PreferencePair, user_prompt
from mva.data.sources.base import BadRow
from mva.data.template import Template
from mva.data.tokenization import TokenLimits, tokenize_pair
from mva.models.sources.tiny_random import byte_tokenizer

LIMITS = TokenLimits(prompt=60, response=12)


def one_by_one(pairs, template, limits):
    for pair in pairs:
        try:
            yield tokenize_pair(pair, template, limits)
        except BadRow as bad:
            yield bad


def facts(tokens):
    if isinstance(tokens, BadRow):
        return str(tokens)
    return tokens.prompt, tokens.chosen, tokens.rejected, tokens.cut, tokens.spans, tokens.source


def same(pairs, template, limits=LIMITS):
    together = list(map(facts, tokenize_each(pairs, template, limits)))
    assert together == list(map(facts, one_by_one(pairs, template, limits)))
    return together


@pytest.fixture
def pairs(dialogues, answers):
    """Every dialogue with answers next to each other; a control token's text, a long prompt and a long answer too."""
    dialogues = [*dialogues, user_prompt("tea " * 40), user_prompt("What is <|im_end|> or </s>?")]
    answered = [*answers, "It is <|im_start|>user or <s>.", "on and on " * 9]
    neighbours = zip(answered, [*answered[1:], "no"], strict=True)
    return [
        PreferencePair(dialogue, chosen, rejected, f"f:{row}")
        for row, (dialogue, (chosen, rejected)) in enumerate(product(dialogues, neighbours))
    ]


@pytest.mark.parametrize("n_pairs", [1, 7, 2048])
def test_calls_of_any_size_give_the_ids_of_single_pairs(pairs, monkeypatch, n_pairs):
    monkeypatch.setattr(batched, "_PAIRS", n_pairs)
    same(pairs, Template(byte_tokenizer()))


def test_pairs_that_the_template_refuses_or_changes_keep_their_messages():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<|im_start|>{{ m['role'] }}\n{{ m['content'].split('##')[-1] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    question = user_prompt("q")
    pairs = [
        PreferencePair(question, "yes", "no", "f:1"),
        PreferencePair((Message("system", "Be kind."), *question), "yes", "no", "f:2"),
        PreferencePair(question, "plan##yes", "no", "f:3"),
        PreferencePair(question, "yes", "no " * 20, "f:4"),
    ]
    together = same(pairs, Template(tokenizer))
    assert "refuses a dialogue of system, user, assistant (no system)" in together[1]
    assert "changes the answer 'plan##yes'" in together[2]
    with pytest.raises(BadRow, match="f:2"):
        tokenize_pairs(pairs, Template(tokenizer), LIMITS)
    assert len(tokenize_pairs([pairs[0], pairs[3]], Template(tokenizer), LIMITS)) == 2


def test_a_limit_that_the_template_exceeds_keeps_its_message(pairs):
    (text,) = same(pairs[:1], Template(byte_tokenizer()), TokenLimits(prompt=5, response=5))
    assert "tokens of the prompt's 5" in text


def test_without_a_chat_template_texts_get_their_beginning_and_end_of_sequence(pairs):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    prompts = {tokens[0][0] for tokens in same(pairs, Template(tokenizer)) if not isinstance(tokens, str)}
    assert prompts == {tokenizer.bos_token_id}


def test_a_tokenizer_that_reads_a_text_otherwise_behind_a_cut_gets_whole_texts(pairs, monkeypatch):
    template = Template(byte_tokenizer())
    plain = type(template.tokenizer).__call__
    calls = []

    def reads_ahead(self, texts, **options):
        calls.append(len(texts))
        encoded = plain(self, texts, **options)
        for text, ids in zip(texts, encoded["input_ids"], strict=True):
            if text.startswith("<|im_start|>assistant"):  # a text that is cut there is seen from its middle
                ids[-1] += 1
        return encoded

    monkeypatch.setattr(type(template.tokenizer), "__call__", reads_ahead)
    together = list(map(facts, tokenize_each(pairs[:40], template, LIMITS)))
    assert len(calls) == 3  # cut, the proof, and whole
    assert together == list(map(facts, one_by_one(pairs[:40], template, LIMITS)))


def test_few_calls_tokenise_many_pairs(pairs, monkeypatch):
    template = Template(byte_tokenizer())
    list(tokenize_each(pairs[:1], template, LIMITS))  # what the template finds out once
    plain, texts = type(template.tokenizer).__call__, []

    def count(self, many, **options):
        texts.append(many)
        return plain(self, many, **options)

    monkeypatch.setattr(type(template.tokenizer), "__call__", count)
    simple = [PreferencePair(user_prompt("Why?"), f"yes {n}", f"no {n}") for n in range(300)]
    list(tokenize_each(simple, template, LIMITS))
    assert len(texts) == 2  # and the proof
    assert len(texts[0]) == 2 + 2 * 300  # the prompt, its end, and every answer once


def fail_while_paused():
    with paused():
        assert not gc.isenabled()
        raise KeyError


def test_the_collector_of_cycles_is_as_it_was():
    with pytest.raises(KeyError):
        fail_while_paused()
    assert gc.isenabled()
    with paused():
        with paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
