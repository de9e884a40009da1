"""What the chat template is given, and what it may do with it."""

import pytest

from mva.data.preference import Message, user_prompt
from mva.data.rendering import RefusedDialogue, Rendering
from mva.data.template import Template
from mva.models.sources.tiny_random import byte_tokenizer

DATED = (
    "{% if strftime_now is defined %}{% set today = strftime_now('%d %b %Y') %}{% else %}{% set today = 'no' %}"
    """{% endif %}Today: {{ today }}, {{ strftime_now( "%Y-%m" ) }}.\n"""
)


def tokenizer_with(head="", condition=""):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        f"{head}{{% for m in messages{condition} %}}<|im_start|>{{{{ m['role'] }}}}\n{{{{ m['content'] }}}}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


def test_prompts_and_keys_are_the_same_on_every_day(clock):
    tokenizer, rendered = tokenizer_with(DATED), set()
    for day in ((2025, 1, 31), (2025, 2, 1)):
        clock(*day)
        template = Template(tokenizer)
        template.check()
        rendered.add((template.text(user_prompt("hi")), template.key))
    ((text, _key),) = rendered
    assert text.startswith("Today: 26 Jul 2024, 2024-07.\n<|im_start|>user\nhi")
    assert "always 26 July 2024" in "".join(template.notes)


def test_a_template_without_a_date_is_passed_on_as_it_is():
    template = Template(byte_tokenizer())
    assert template.rendering.dated_template is None
    assert template.notes == []


def test_a_date_among_the_template_s_settings_is_taken():
    head = "Today: {% if not today %}{% set today = strftime_now('%Y') %}{% endif %}{{ today }}\n"
    template = Template(tokenizer_with(head), template_kwargs={"today": "1 May 2031"})
    assert template.text(user_prompt("hi")).startswith("Today: 1 May 2031\n")


@pytest.mark.parametrize("n", [3, 11, 25])
def test_a_turn_that_the_template_leaves_out_is_seen_in_dialogues_of_any_length(n):
    roles = ["user", "assistant"] * n
    dialogue = tuple(Message(role, f"turn {k}") for k, role in enumerate(roles[:n]))
    with pytest.raises(RefusedDialogue, match="leaves out the assistant turn"):
        Rendering(tokenizer_with(condition=" if m != messages[1]")).check(dialogue)
    Rendering(tokenizer_with()).check(dialogue)


def test_a_system_turn_as_the_user_s_takes_no_other_speaker_s_words():
    rendering = Rendering(tokenizer_with(), system_as_user=True)
    system, answer, question = Message("system", "Be kind."), Message("assistant", "Hello."), Message("user", "Hi.")
    assert rendering.with_system((system, question)) == [Message("user", "Be kind.\n\nHi.")]
    assert rendering.with_system((system, answer, question)) == [Message("user", "Be kind."), answer, question]
    assert rendering.with_system((system,)) == [Message("user", "Be kind.")]
