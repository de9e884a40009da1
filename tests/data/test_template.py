"""What a dialogue becomes: rendered text, ids, and the token that ends a turn."""

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mva.data.preference import Message, user_prompt
from mva.data.rendering import RefusedDialogue
from mva.data.template import Template, UnusableTemplate
from mva.models.sources.tiny_random import byte_tokenizer

WORDS = ["<unk>", "<s>", "</s>", "Human", "Assistant", ":", "hello", "there", "<turn>", "</turn>"]
TURNS = (Message("user", "hello"), Message("assistant", "there"), Message("user", "bye"))
TURN_TEMPLATE = (
    "{% for m in messages %}<turn>{{ m['role'] }} {{ m['content'] | trim }}</turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant {% endif %}"
)


def word_tokenizer(**settings):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **settings)


def response_ids(template, text):
    conversation = template.conversation_ids(user_prompt("hello"), text)
    return conversation.ids[conversation.start :]


def ids(words):
    return [WORDS.index(word) for word in words.split()]


def test_without_a_chat_template_turns_are_labelled():
    template = Template(word_tokenizer())
    assert template.text(TURNS) == "Human: hello\n\nAssistant: there\n\nHuman: bye\n\nAssistant:"


def test_plain_text_begins_with_the_beginning_of_sequence_and_responses_end_with_its_end():
    template = Template(word_tokenizer(bos_token="<s>", eos_token="</s>"))
    assert template.prompt_ids(user_prompt("hello")) == ids("<s> Human : hello Assistant :")
    assert response_ids(template, "there") == ids("there </s>")
    assert template.stop_ids == ids("</s>")


def test_a_tokenizer_without_special_tokens_marks_nothing():
    template = Template(word_tokenizer())
    assert template.prompt_ids(user_prompt("hello")) == ids("Human : hello Assistant :")
    assert response_ids(template, "hello there") == ids("hello there")
    assert template.stop_ids == []


def test_a_system_prompt_stands_before_dialogues_that_bring_none():
    template = Template(word_tokenizer(), system="Be kind.")
    assert template.text(user_prompt("hello")).startswith("System: Be kind.\n\nHuman: hello")
    own = (Message("system", "Be brief."), *user_prompt("hello"))
    assert template.text(own) == "System: Be brief.\n\nHuman: hello\n\nAssistant:"


def test_prompt_and_response_are_the_beginning_of_the_rendered_dialogue():
    tokenizer = byte_tokenizer()
    template = Template(tokenizer)
    whole = [*TURNS, Message("assistant", "see you")]
    rendered = tokenizer.apply_chat_template([turn._asdict() for turn in whole], tokenize=False)
    found = tokenizer.decode(template.conversation_ids(TURNS, "see you").ids)
    assert rendered == found + "\n"  # ChatML ends its last turn with a line break, which no model has to say
    assert template.end_of_turn == "<|im_end|>"


@pytest.mark.parametrize("named", [True, False], ids=["named", "merely added"])
def test_the_end_of_turn_is_what_the_chat_template_writes_behind_an_assistant(named):
    tokenizer = word_tokenizer(bos_token="<s>", eos_token="</s>", chat_template=TURN_TEMPLATE)
    marks = [AddedToken(mark, special=True) for mark in ("<turn>", "</turn>")]
    if named:
        tokenizer.add_special_tokens({"additional_special_tokens": marks})
    else:
        tokenizer.add_tokens(marks)  # as tokenizer.json of some chat models has them: special, without a role
    template = Template(tokenizer)
    assert template.end_of_turn == "</turn>"
    assert response_ids(template, "hello") == ids("hello </turn>")
    assert template.stop_ids == ids("</s> </turn>")


def test_a_chat_template_that_closes_turns_with_words_leaves_it_to_the_end_of_sequence():
    words = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} . {% endfor %}"
    tokenizer = word_tokenizer(eos_token="</s>", chat_template=words)
    assert Template(tokenizer).end_of_turn == "</s>"


def test_the_key_names_all_that_changes_ids():
    key = Template(byte_tokenizer()).key
    assert Template(byte_tokenizer()).key == key
    assert Template(byte_tokenizer(), system="Be kind.").key != key
    other = byte_tokenizer()
    other.chat_template = TURN_TEMPLATE
    assert Template(other).key != key
    assert Template(word_tokenizer()).key != Template(word_tokenizer(eos_token="</s>")).key


def test_keys_of_templates_without_new_settings_stay_what_they_were():
    """Stored references, heads and ledgers are addressed by these."""
    tokenizer = byte_tokenizer()
    assert Template(tokenizer).key == "072cac46875e3972"
    assert Template(tokenizer, system="Be kind.").key == "7e2b79d037f6e690"
    tokenizer.chat_template = None
    assert Template(tokenizer).key == "ea54dddbf0d8d9ba"


def test_generated_text_is_read_as_it_is_where_given_text_would_be_refused():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content'] }}", "message['content'] | lower }}")
    template = Template(tokenizer)
    with pytest.raises(RefusedDialogue, match="changes the answer 'YES'"):
        template.conversation_ids(user_prompt("hello"), "YES")
    conversation = template.conversation_ids(user_prompt("hello"), "YES", strict=False)
    assert tokenizer.decode(conversation.ids[conversation.start :]) == "YES<|im_end|>"


def test_a_tokenizer_that_renders_dialogues_by_its_own_code_is_refused():
    class CodeBackend(PreTrainedTokenizerFast):
        def apply_chat_template(self, *_, **__):
            return "[INST] hello [/INST]"

    plain = word_tokenizer()
    Template(plain).check()
    with pytest.raises(UnusableTemplate, match="CodeBackend renders dialogues with its own code"):
        Template(CodeBackend(tokenizer_object=plain.backend_tokenizer, unk_token="<unk>")).check()
