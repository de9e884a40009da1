"""What the template and the limits make of a value's pairs: what is used, left out, cut and counted."""

import pytest

from mva.data.checks import EmptyData
from mva.data.preference import Message, PreferencePair, ValueData, user_prompt
from mva.data.rendering import RefusedDialogue
from mva.data.sources.base import BadRow
from mva.data.template import Template
from mva.data.tokenization import TokenLimits, fit_prompt, generation_prompt_ids
from mva.data.tokenized import renderable, tokenize_value
from mva.models.sources.tiny_random import byte_tokenizer

ALTERNATING = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LIMITS = TokenLimits(prompt=200, response=40)
TURNS = (
    Message("user", "First question."),
    Message("assistant", "First answer."),
    Message("user", "Second question."),
    Message("assistant", "Second answer."),
    Message("user", "Third question."),
)
SYSTEM = Message("system", "Be kind.")


@pytest.fixture
def template():
    return Template(byte_tokenizer())


@pytest.fixture
def strict_template():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = ALTERNATING
    return Template(tokenizer)


def pair(prompt, line, chosen="yes", rejected="no"):
    return PreferencePair(prompt, chosen, rejected, f"f:{line}")


def value_of(*pairs):
    return ValueData(
        "kind", (*pairs, pair(user_prompt("q"), 90)), (pair(user_prompt("v"), 91),), (pair(user_prompt("t"), 92),)
    )


TWO_USER_TURNS = pair((Message("user", "Hi."), Message("user", "Are you there?")), 1)


def test_a_dialogue_that_the_template_refuses_is_a_bad_row(strict_template):
    with pytest.raises(BadRow, match=r"f:1: the chat template refuses a dialogue of user, user, assistant"):
        tokenize_value(value_of(TWO_USER_TURNS), strict_template, LIMITS, on_bad_row="error")
    with pytest.raises(BadRow, match=r"f:1: .*roles must alternate"):
        renderable(value_of(TWO_USER_TURNS), strict_template.rendering, on_bad_row="error")


def test_it_is_left_out_of_every_split_where_bad_rows_are_skipped(strict_template):
    refused = TWO_USER_TURNS
    data = ValueData("kind", *(value_of(refused).train,) * 3)
    usable, skipped = renderable(data, strict_template.rendering, on_bad_row="skip")
    assert [bad.origin for bad in skipped] == ["f:1"] * 3
    assert all(pairs == value_of().train for _, pairs in usable.splits())
    tokenized = tokenize_value(data, strict_template, LIMITS, on_bad_row="skip")
    assert len(tokenized.train) == len(tokenized.validation) == 1
    assert "f:1: the chat template refuses" in tokenized.summary()[0]


def test_a_system_turn_of_the_data_is_refused_or_becomes_the_user_s():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = ALTERNATING
    data = value_of(pair((SYSTEM, *user_prompt("Hi.")), 1))
    with pytest.raises(BadRow, match="refuses a dialogue of system, user"):
        renderable(data, Template(tokenizer).rendering, on_bad_row="error")
    as_user = Template(tokenizer, system_as_user=True)
    usable, skipped = renderable(data, as_user.rendering, on_bad_row="error")
    assert usable is data
    assert skipped == []
    assert "user\nBe kind.\n\nHi.<|im_end|>" in as_user.text(data.train[0].prompt)


def test_data_of_which_the_template_takes_nothing_is_refused(strict_template):
    data = ValueData("kind", (TWO_USER_TURNS,), (TWO_USER_TURNS,), (TWO_USER_TURNS,))
    with pytest.raises(EmptyData, match=r"no train pairs that the model's chat template takes: f:1"):
        renderable(data, strict_template.rendering, on_bad_row="skip")


def test_a_text_that_the_template_changes_is_a_bad_row():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{{ message['content'] }}", "{{ message['content'].split('##')[-1] }}"
    )
    with pytest.raises(BadRow, match=r"f:1: the chat template changes the answer 'plan##yes'"):
        tokenize_value(
            value_of(pair(user_prompt("q"), 1, chosen="plan##yes")), Template(tokenizer), LIMITS, on_bad_row="error"
        )


def test_what_is_cut_is_counted_and_nothing_else(template):
    exactly = "x" * (LIMITS.response - 1)  # with the end of turn it fills the limit
    over = "y" * LIMITS.response
    data = value_of(pair(user_prompt("q"), 1, chosen=exactly), pair(user_prompt("q"), 2, chosen=over))
    tokenized = tokenize_value(data, template, LIMITS, on_bad_row="error")
    assert [p.cut for p in tokenized.train] == [False, True, False]
    assert tokenized.summary() == ["1 of 4 pairs were cut to data.limits."]


def rendered(template, dialogue):
    return len(template.prompt_ids(dialogue))


@pytest.mark.parametrize("system", [(), (SYSTEM,)], ids=["no system", "system"])
def test_at_every_limit_the_prompt_fits_and_keeps_what_the_template_writes(template, system):
    dialogue = (*system, *TURNS)
    empty = (*system, Message("user", ""))
    scaffold, whole = rendered(template, empty), rendered(template, dialogue)
    for limit in range(scaffold + 1, whole + 1):
        fitted = fit_prompt(dialogue, limit, template.prompt_ids)
        assert rendered(template, fitted) <= limit
        assert fitted[: len(system)] == system
        turns = fitted[len(system) :]
        assert turns[0].role == "user"
        assert turns[-1].content
        assert TURNS[-1].content.endswith(turns[-1].content)
        if len(turns) > 1 or turns[0] == TURNS[-1]:
            assert turns == TURNS[-len(turns) :]
        decoded = template.tokenizer.decode(generation_prompt_ids(dialogue, template, limit=limit))
        assert decoded.startswith("<|im_start|>")
        assert decoded.endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_whole_old_turns_go_before_any_content(template):
    two_turns = (SYSTEM, *TURNS[2:])
    limit = rendered(template, two_turns)
    dialogue = (SYSTEM, *TURNS)
    assert fit_prompt(dialogue, limit, template.prompt_ids) == two_turns
    assert fit_prompt(dialogue, limit - 1, template.prompt_ids) == (SYSTEM, TURNS[-1])
    assert fit_prompt(dialogue, rendered(template, dialogue), template.prompt_ids) == dialogue


def test_content_loses_as_little_as_fits(template):
    dialogue = user_prompt("abcdefgh")
    limit = rendered(template, user_prompt("cdefgh"))
    assert fit_prompt(dialogue, limit, template.prompt_ids) == user_prompt("cdefgh")


def test_a_limit_that_leaves_no_content_is_refused(template):
    scaffold = rendered(template, (SYSTEM, Message("user", "")))
    with pytest.raises(RefusedDialogue, match=f"take {scaffold} tokens of the prompt's {scaffold}.*raise the limit"):
        fit_prompt((SYSTEM, *TURNS), scaffold, template.prompt_ids)


def test_an_assistant_turn_at_the_beginning_goes_first(template):
    dialogue = (Message("assistant", "Hello, what can I do?"), *user_prompt("Name a tree."))
    limit = rendered(template, user_prompt("Name a tree."))
    assert fit_prompt(dialogue, limit, template.prompt_ids) == user_prompt("Name a tree.")
