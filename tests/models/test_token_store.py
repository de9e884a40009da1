"""Token ids in the store: read back as they were made, for the very texts, tokenizer, template and limits."""

import os

import pytest
from tokenizers import AddedToken

from mva.data import tokenized
from mva.data.preference import PreferencePair, ValueData, user_prompt
from mva.data.template import Template
from mva.data.tokenization import TokenLimits
from mva.data.tokenized import tokenize_value
from mva.models import token_store
from mva.models.cache_contents import contents
from mva.models.sources.tiny_random import byte_tokenizer
from mva.models.store import Store
from mva.models.token_store import StoredTokens

LIMITS = TokenLimits(prompt=40, response=6)
PAIRS = (
    PreferencePair(user_prompt("How long?"), "As long as it takes.", "Short.", "f:1"),
    PreferencePair(user_prompt("q" * 50), "cut prompt", "it is", "f:2"),
    PreferencePair(user_prompt("q"), "identical once cut, A", "identical once cut, B", "f:3"),
    PreferencePair(user_prompt("q"), "\U0001f642", "<|im_end|>", "f:4"),
)
REFUSED = PreferencePair(user_prompt("refused"), "yes", "no", "f:5")


@pytest.fixture
def template():
    tokenizer = byte_tokenizer()
    refusal = "{% if messages[0]['content'] == 'refused' %}{{ raise_exception('never') }}{% endif %}"
    tokenizer.chat_template = refusal + tokenizer.chat_template
    return Template(tokenizer)


@pytest.fixture
def made(monkeypatch):
    """The calls that tokenise."""
    calls = []

    def tokenize(pairs, *rest):
        calls.append(len(pairs))
        return tokenized.tokenize_each(pairs, *rest)

    monkeypatch.setattr(token_store, "tokenize_each", tokenize)
    return calls


def value(pairs=(*PAIRS, REFUSED)):
    return ValueData("kind", pairs, PAIRS[:1], PAIRS[:1])


def facts(value):
    pairs = [(p.prompt, p.chosen, p.rejected, p.cut, p.spans, p.source) for p in (*value.train, *value.validation)]
    return pairs, [str(bad) for bad in value.skipped], value.summary()


def stored(root, template, data=None, limits=LIMITS):
    tokenize = StoredTokens(Store(root), what="the token ids of 'kind'")
    return facts(tokenize_value(data or value(), template, limits, on_bad_row="skip", tokenize=tokenize))


def test_what_is_read_back_is_what_was_made(tmp_path, template, made):
    expected = facts(tokenize_value(value(), template, LIMITS, on_bad_row="skip"))
    assert len(expected[1]) == 2
    assert stored(tmp_path, template) == expected
    assert made == [5, 1]
    assert stored(tmp_path, template) == expected
    assert made == [5, 1]


def test_mva_cache_lists_them_with_whose_they_are(tmp_path, template):
    stored(tmp_path, template)
    assert {(content.kind, content.what) for content in contents(Store(tmp_path))} == {
        ("tokens", "token ids of 'kind'")
    }


def test_places_of_the_rows_are_those_of_today(tmp_path, template, made):
    stored(tmp_path, template)
    moved = PreferencePair(REFUSED.prompt, REFUSED.chosen, REFUSED.rejected, "g:9")
    _, skipped, _ = stored(tmp_path, template, value((*PAIRS, moved)))
    assert made == [5, 1]
    assert skipped[0].startswith("g:9: the chat template refuses")


def other_vocabulary():
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([AddedToken("takes", special=False)])
    return Template(tokenizer)


@pytest.mark.parametrize("change", ["limits", "tokenizer", "template", "texts", "library"])
def test_whatever_decides_the_ids_is_part_of_the_key(tmp_path, template, made, monkeypatch, change):
    plain = value(PAIRS)
    stored(tmp_path, Template(byte_tokenizer()), plain)
    changed, limits, data = Template(byte_tokenizer()), LIMITS, plain
    if change == "limits":
        limits = TokenLimits(prompt=40, response=7)
    elif change == "tokenizer":
        changed = other_vocabulary()
        assert changed.key == Template(byte_tokenizer()).key  # its probe does not meet the new token
    elif change == "template":
        changed = Template(byte_tokenizer(), system="Be kind.")
    elif change == "texts":
        data = value((*PAIRS[:3], PreferencePair(user_prompt("q"), "\U0001f643", "<|im_end|>", "f:4")))
    else:
        monkeypatch.setattr(token_store.tokenizers, "__version__", "99")
    expected = facts(tokenize_value(data, changed, limits, on_bad_row="skip"))
    before = len(made)
    assert stored(tmp_path, changed, data, limits) == expected
    assert len(made) > before


def test_a_damaged_entry_is_told_and_made_anew(tmp_path, template, made):
    expected = stored(tmp_path, template)
    for file in (tmp_path / "tokens").glob("*/ids.safetensors"):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged: it is made anew"):
        assert stored(tmp_path, template) == expected
    assert made == [5, 1, 5, 1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_cache_that_can_only_be_read_is_done_without(tmp_path, template):
    tmp_path.chmod(0o500)
    assert stored(tmp_path, template) == facts(tokenize_value(value(), template, LIMITS, on_bad_row="skip"))


def test_a_cache_in_whose_way_a_file_lies_is_done_without(tmp_path, template):
    (tmp_path / "cache").write_text("a file")
    assert stored(tmp_path / "cache", template) == facts(tokenize_value(value(), template, LIMITS, on_bad_row="skip"))


def test_ids_of_a_slow_tokenizer_are_not_kept(tmp_path, template, made, monkeypatch):
    monkeypatch.setattr(type(template.tokenizer), "is_fast", False)
    expected = facts(tokenize_value(value(), template, LIMITS, on_bad_row="skip"))
    assert stored(tmp_path, template) == expected
    assert not (tmp_path / "tokens").exists()
