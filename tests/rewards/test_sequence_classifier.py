from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    OPTConfig,
    OPTForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from mva.data.preference import Message, user_prompt
from mva.models.backbone import CPU_TOKENS
from mva.rewards.classifier_text import BadTemplate, ClassifierText
from mva.rewards.sequence_classifier import NotARewardModel, SequenceClassifier, usable_positions

WORDS = [
    "[UNK]",
    "[PAD]",
    "[CLS]",
    "[SEP]",
    "<eos>",
    "Human",
    ":",
    "Assistant",
    "hello",
    "how",
    "are",
    "you",
    "fine",
    "yes",
    "no",
    "why",
    "because",
    "it",
    "is",
]
PROMPTS = [user_prompt("hello"), user_prompt("why"), user_prompt("how are you"), user_prompt("hello")]
RESPONSES = ["yes", "because it is", "fine", "no no no no no no no"]
TEMPLATE = "Human : {prompt} Assistant : {response} <eos>"
CONTEXT = SimpleNamespace(backbone=SimpleNamespace(device=torch.device("cpu")))
SIZES = {"vocab_size": len(WORDS), "num_labels": 2, "initializer_range": 0.5}


def word_tokenizer(**specials):
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if "cls_token" in specials:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **specials)


def bert():
    config = BertConfig(
        **SIZES,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        pad_token_id=1,
    )
    return BertForSequenceClassification(config), word_tokenizer(
        cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )


def llama_with_pad_as_eos():
    config = LlamaConfig(
        **SIZES,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        pad_token_id=4,
    )
    return LlamaForSequenceClassification(config), word_tokenizer(eos_token="<eos>", pad_token="<eos>")


def gpt2_without_pad():
    config = GPT2Config(**SIZES, n_embd=32, n_layer=2, n_head=4, bos_token_id=4, eos_token_id=4)
    return GPT2ForSequenceClassification(config), word_tokenizer(eos_token="<eos>")


@pytest.fixture(params=[bert, llama_with_pad_as_eos, gpt2_without_pad], ids=lambda make: make.__name__)
def path(request, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, tokenizer = request.param()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return str(tmp_path)


@pytest.fixture
def spec(path):
    return SequenceClassifier(path=path, template=TEMPLATE, label=1, sign=1)


@contextmanager
def rows_read(reward):
    """List the lengths of the rows of every batch that the model reads."""
    shapes = []

    def read(_model, _arguments, inputs):
        shapes.append(inputs["attention_mask"].sum(dim=1).tolist())
        assert inputs["input_ids"].shape[1] == max(shapes[-1])

    hook = reward._model.register_forward_pre_hook(read, with_kwargs=True)
    yield shapes
    hook.remove()


def test_a_batch_scores_as_single_rows_do(spec):
    reward = spec.build(CONTEXT)
    responses = [" ".join(["no"] * (60 + k)) for k in range(4)]
    with rows_read(reward) as shapes:
        batched = reward.score(PROMPTS * 2, RESPONSES + responses)
    assert any(len(rows) > 1 and len(set(rows)) > 1 for rows in shapes), "texts of unlike lengths share a batch"
    single = [reward.score([p], [r]) for p, r in zip(PROMPTS * 2, RESPONSES + responses, strict=True)]
    torch.testing.assert_close(batched, torch.cat(single), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("max_tokens", [8, 1024])
def test_batches_are_of_like_length_within_the_tokens_of_a_batch(spec, max_tokens):
    reward = replace(spec, max_tokens=max_tokens, batch_size=16).build(CONTEXT)
    lengths = torch.randint(1, 100, (200,), generator=torch.Generator().manual_seed(0)).tolist()
    with rows_read(reward) as shapes:
        reward.score([PROMPTS[0]] * 200, [" ".join(["no"] * length) for length in lengths])
    assert sum(map(len, shapes)) == 200
    computed = sum(len(rows) * max(rows) for rows in shapes)
    assert 1 - sum(map(sum, shapes)) / computed < 0.05
    assert all(len(rows) * max(rows) <= min(16 * max_tokens, CPU_TOKENS) for rows in shapes)
    assert len(shapes) < 100


def test_different_responses_to_one_prompt_get_different_scores(spec):
    scores = spec.build(CONTEXT).score([PROMPTS[0]] * 4, RESPONSES)
    assert len(set(scores.tolist())) == 4


def test_the_score_is_the_chosen_logit_of_the_last_token(path, spec):
    """The oracle: the model itself on one unpadded row, its head read at the last token."""
    reward = spec.build(CONTEXT)
    ids = torch.tensor([reward._tokenizer.encode("Human : hello Assistant : yes <eos>")])
    reward._model.config.pad_token_id = WORDS.index("[PAD]")  # an id that is not in the row
    with torch.no_grad():
        expected = reward._model(input_ids=ids).logits[0, 1].item()
    assert reward.score(PROMPTS[:1], RESPONSES[:1]).item() == pytest.approx(expected, abs=1e-6)


def test_label_and_sign_are_obeyed(spec):
    scores = {
        (label, sign): replace(spec, label=label, sign=sign).build(CONTEXT).score(PROMPTS, RESPONSES)
        for label in (0, 1)
        for sign in (1, -1)
    }
    for label in (0, 1):
        assert torch.equal(scores[label, -1], -scores[label, 1])
    assert not torch.allclose(scores[0, 1], scores[1, 1])


def test_the_key_names_model_and_reading_but_not_the_batch(spec):
    key = spec.build(CONTEXT).key
    assert replace(spec, batch_size=2).build(CONTEXT).key == key
    assert replace(spec, sign=-1).build(CONTEXT).key != key
    assert replace(spec, template="{prompt} {response}").build(CONTEXT).key != key


def test_long_texts_lose_their_beginning(spec):
    reward = replace(spec, template="{prompt} {response}", max_tokens=6).build(CONTEXT)
    one, other = reward.score(
        [user_prompt("hello why why"), user_prompt("no why why")], ["yes yes yes yes yes yes"] * 2
    )
    assert one.item() == pytest.approx(other.item(), abs=1e-5)


@pytest.mark.parametrize("path", [llama_with_pad_as_eos], indirect=True)
class TestTemplates:
    def test_the_text_is_repeated_for_every_exchange(self, spec):
        reward = spec.build(CONTEXT)
        dialogue = (Message("user", "hello"), Message("assistant", "yes"), Message("user", "why"))
        text = "Human : hello Assistant : yes <eos> Human : why Assistant : no <eos>"
        assert reward._written.tokens([dialogue], ["no"])[0] == reward._tokenizer.encode(text)

    def test_braces_in_prompts_stay_what_they_are(self, spec):
        reward = replace(spec, template="{prompt} {response}").build(CONTEXT)
        assert reward._written.tokens([user_prompt("{response} why")], ["no"])[0] == reward._tokenizer.encode(
            "{response} why no"
        )

    def test_a_dialogue_that_does_not_alternate_is_refused(self, spec):
        with pytest.raises(BadTemplate, match=r"'system', 'user', 'assistant'.*use 'chat'"):
            spec.build(CONTEXT).score([(Message("system", "yes"), Message("user", "why"))], ["no"])

    def test_chat_without_a_chat_template_is_refused(self, spec):
        with pytest.raises(NotARewardModel, match="no chat template"):
            replace(spec, template="chat").build(CONTEXT)

    def test_chat_renders_with_the_tokenizer_s_template(self, spec):
        reward = spec.build(CONTEXT)
        reward._tokenizer.chat_template = (
            "{% for m in messages %}"
            "{{ 'Human' if m['role'] == 'user' else 'Assistant' }} : {{ m['content'] }} "
            "{% endfor %}"
        )
        written = ClassifierText(reward._tokenizer, "chat", limit=100)
        expected = reward._tokenizer.encode("Human : why Assistant : no")
        assert written.tokens([user_prompt("why")], ["no"]) == [expected]

    def test_a_label_that_the_model_lacks_is_refused(self, spec):
        with pytest.raises(NotARewardModel, match=r"has 2 labels: reward\.label can't be 2"):
            replace(spec, label=2).build(CONTEXT)


def test_a_model_without_a_trained_head_is_refused(tmp_path):
    model, tokenizer = bert()
    BertModel(model.config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(NotARewardModel, match=r"does not hold .*classifier\.weight.*would be random"):
        SequenceClassifier(path=str(tmp_path), template=TEMPLATE, label=0, sign=1).build(CONTEXT)


@pytest.mark.parametrize("template", ["{prompt}", "{prompt} {answer}", "{prompt} {response} {prompt}", "{", "{} {}"])
def test_a_template_without_exactly_prompt_and_response_is_refused(template):
    with pytest.raises(BadTemplate, match=r"reward\.template"):
        SequenceClassifier(path="x", template=template, label=0, sign=1)


def test_a_sign_that_is_no_sign_is_refused():
    with pytest.raises(ValueError, match=r"^sign is 2: choose 1 or -1"):
        SequenceClassifier(path="x", template=TEMPLATE, label=0, sign=2)


def saved_roberta(folder, positions, **more):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, **SIZES}
    config = RobertaConfig(**sizes, max_position_embeddings=positions, pad_token_id=1, **more)
    torch.manual_seed(0)
    RobertaForSequenceClassification(config).eval().save_pretrained(folder)
    word_tokenizer(pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]").save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("positions", [14, 34])
def test_texts_beyond_the_usable_positions_lose_their_beginning(tmp_path, positions):
    """RoBERTa's positions start behind its padding row: of 14 rows 12 can be used."""
    path = saved_roberta(tmp_path, positions)
    reward = SequenceClassifier(path, TEMPLATE, label=0, sign=1).build(CONTEXT)
    long = "because " + "no " * 100 + "yes"
    (score,) = reward.score([user_prompt("why")], [long])
    assert torch.isfinite(score)
    usable = positions - 2
    kept = reward._written.tokens([user_prompt("why")], [long])[0]
    assert len(kept) == usable
    same_ending = "no " * (usable + 5) + "yes"
    torch.testing.assert_close(reward.score([user_prompt("hello")], [same_ending])[0], score)


def test_usable_positions_of_other_tables(tmp_path):
    tokenizer = word_tokenizer()
    config = GPT2Config(vocab_size=len(WORDS), n_embd=16, n_layer=1, n_head=2, n_positions=20)
    assert usable_positions(GPT2ForSequenceClassification(config), tokenizer) == 20
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    bert = BertForSequenceClassification(BertConfig(**sizes, vocab_size=len(WORDS), max_position_embeddings=24))
    assert usable_positions(bert, tokenizer) == 24
    opt = OPTForSequenceClassification(
        OPTConfig(**{**sizes, "ffn_dim": 16, "word_embed_proj_dim": 16}, vocab_size=30, max_position_embeddings=22)
    )
    assert usable_positions(opt, tokenizer) == 22
    tokenizer.model_max_length = 10
    assert usable_positions(bert, tokenizer) == 10


def test_bfloat16_scores_are_close_and_come_in_float64(tmp_path):
    path = saved_roberta(tmp_path, 40)
    full, half = (
        SequenceClassifier(path, TEMPLATE, label=0, sign=1, dtype=dtype).build(CONTEXT).score(PROMPTS, RESPONSES)
        for dtype in ("float32", "bfloat16")
    )
    assert half.dtype == torch.float64
    torch.testing.assert_close(half, full, atol=0.05, rtol=0.05)


def test_the_device_is_no_part_of_the_key(tmp_path):
    path = saved_roberta(tmp_path, 40)
    spec = SequenceClassifier(path, TEMPLATE, label=0, sign=1)
    assert spec.build(CONTEXT).key == replace(spec, device="cpu").build(CONTEXT).key


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"device": "gpu"}, "^device is 'gpu': choose auto, cpu"),
        ({"device": "cuda:99"}, "this machine has"),
        ({"dtype": "float33"}, "^dtype is 'float33': choose"),
    ],
)
def test_devices_and_precisions_that_do_not_exist_are_refused_without_a_model(setting, message):
    with pytest.raises(ValueError, match=message):
        SequenceClassifier("x", TEMPLATE, label=0, sign=1, **setting)
