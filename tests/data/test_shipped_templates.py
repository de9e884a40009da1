"""Every chat template that TRL ships: trained ids are a beginning of the conversation's own, up to the end of turn."""

import re
from pathlib import Path

import pytest
import trl
from tokenizers import AddedToken

from mva.data.preference import Message, user_prompt
from mva.data.rendering import RefusedDialogue
from mva.data.template import Template, UnusableTemplate
from mva.models.sources.tiny_random import byte_tokenizer

FOLDER = Path(trl.__file__).parent / "chat_templates"
TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.jinja"))}
# These take a message's content as a list of parts, never as text: they belong to processors of images.
OF_PROCESSORS = [name for name in TEMPLATES if name.startswith(("idefics3", "llava_next", "smolvlm"))]
OF_TEXT = [name for name in TEMPLATES if name not in OF_PROCESSORS]
MARK = re.compile(r"<[\uff5c|]?[\w/\u2581:\- ]+?[\uff5c|]?>|\[/?[A-Z_]+\]")
# Their generation prompt opens a thought, a channel or a block that finished conversations close or do not have.
SWITCHED_OFF = {"enable_thinking": False}


def tokenizer_for(name):
    """One token a byte, and one for each of the template's marks; `<think>` and its kin are no control tokens."""
    tokenizer = byte_tokenizer()
    marks = sorted({*MARK.findall(TEMPLATES[name]), "<s>"})
    tokenizer.add_tokens([AddedToken(mark, special="think" not in mark) for mark in marks])
    tokenizer.bos_token = "<s>"
    tokenizer.chat_template = TEMPLATES[name]
    return tokenizer


def test_the_folder_holds_what_is_tested():
    assert len(OF_TEXT) > 60
    assert {"qwen3", "qwen3_5_think", "deepseek_r1_distill", "gptoss", "glm4moe", "nemotron_3_nano"} <= set(OF_TEXT)


@pytest.mark.parametrize("kwargs", [{}, SWITCHED_OFF], ids=["default", "no thinking"])
@pytest.mark.parametrize("name", OF_TEXT)
def test_trained_ids_are_the_conversation_s_own(name, kwargs, dialogues, answers, conversation_oracle):
    tokenizer = tokenizer_for(name)
    template = Template(tokenizer, template_kwargs=kwargs)
    template.check()
    n_checked = 0
    for dialogue in dialogues:
        try:
            template.rendering.check(dialogue)
        except RefusedDialogue:
            assert dialogue[0].role == "system", "only system turns may be refused"
            continue
        for answer in answers:
            conversation = template.conversation_ids(dialogue, answer)
            expected = conversation_oracle(tokenizer, dialogue, answer, **kwargs)
            n_checked += 1
            if name == "glm4moe":  # writes nothing behind the last turn: the end of sequence is ours
                expected = [*expected, tokenizer.eos_token_id]
            assert conversation.ids == expected[: len(conversation.ids)]
            assert conversation.ids[-1] in template.stop_ids
            rest = expected[len(conversation.ids) :]
            assert not tokenizer.decode(rest, skip_special_tokens=True).strip()
            assert tokenizer.decode(conversation.ids[conversation.start : -1]).lstrip("\n ") == answer
            assert not conversation.spans
    assert n_checked >= 2 * len(answers)


@pytest.mark.parametrize("name", OF_PROCESSORS)
def test_a_template_that_takes_no_text_is_refused_before_the_weights_load(name):
    with pytest.raises(UnusableTemplate, match="the chat template"):
        Template(tokenizer_for(name)).check()


def test_a_plain_answer_is_never_trained_inside_an_open_thought():
    for name in OF_TEXT:
        tokenizer = tokenizer_for(name)
        conversation = Template(tokenizer).conversation_ids(user_prompt("Name a tea."), "Green.")
        before = tokenizer.decode(conversation.ids[: conversation.start])
        assert before.count("<think>") <= before.count("</think>") + before.count("<think></think>"), name


@pytest.mark.parametrize(
    ("name", "opened", "switched_off"),
    [("qwen3", "''", None), ("deepseek_r1_distill", r"'<think>\n'", r"'<think>\n'"), ("gptoss", "''", "''")],
)
def test_a_generation_prompt_unlike_finished_conversations_is_said(name, opened, switched_off):
    tokenizer = tokenizer_for(name)
    assert f"generation prompt ends with {opened}" in Template(tokenizer).unlike_conversations
    note = Template(tokenizer, template_kwargs=SWITCHED_OFF).unlike_conversations
    assert (note is None) if switched_off is None else (f"ends with {switched_off}" in note)


@pytest.mark.parametrize("name", ["llama3", "qwen2_5", "gemma3", "phi3", "cohere"])
def test_plain_chat_templates_generate_where_conversations_answer(name):
    assert Template(tokenizer_for(name)).unlike_conversations is None


def test_template_kwargs_reach_every_rendering_and_the_key():
    tokenizer = tokenizer_for("qwen3")
    plain, no_thinking = Template(tokenizer), Template(tokenizer, template_kwargs=SWITCHED_OFF)
    question = user_prompt("Name a tea.")
    assert "<think>" not in plain.text(question)
    assert no_thinking.text(question).endswith("<think>\n\n</think>\n\n")
    assert plain.key != no_thinking.key


def test_a_system_prompt_needs_a_system_role():
    tokenizer = tokenizer_for("gemma")
    with pytest.raises(UnusableTemplate, match=r"System role not supported.*model\.system_as_user=true"):
        Template(tokenizer, system="Be kind.").check()
    as_user = Template(tokenizer, system="Be kind.", system_as_user=True)
    as_user.check()
    assert "<start_of_turn>user\nBe kind.\n\nName a tea.<end_of_turn>" in as_user.text(user_prompt("Name a tea."))
    own = (Message("system", "Be brief."), *user_prompt("Name a tea."))
    assert "user\nBe brief.\n\nName a tea.<end_of_turn>" in as_user.text(own)


def test_a_template_that_drops_the_system_turn_refuses_it_too():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    with pytest.raises(UnusableTemplate, match="leaves out the system turn"):
        Template(tokenizer, system="Be kind.").check()
    Template(tokenizer).check()


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (
            "{% for m in messages %}{{ m['content'] | upper }}<|im_end|>{% endfor %}",
            "changes the answer 'Yes, of course",
        ),
        ("{{ messages[0]['content'] }}<|im_end|>", "leaves out the assistant's last turn"),
        (
            "{{ raise_exception('no dialogue of two') }}",
            r"refuses a dialogue of user, assistant \(no dialogue of two\)",
        ),
        ("{{ messages[99]['content'].x }}", "refuses a dialogue"),
    ],
)
def test_templates_that_break_the_rule_are_refused_with_the_reason(template, reason):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UnusableTemplate, match=reason):
        Template(tokenizer).check()
