"""A thought is no part of the response: neither rewards nor judges nor pages see it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import trl
from tokenizers import AddedToken

from mva.data.reasoning import thought_is_open, thought_marks, without_thought
from mva.data.template import Template
from mva.engines.text import response_text
from mva.evaluation.generation import GenerationSpec
from mva.models.sources.tiny_random import byte_tokenizer

TAGS = ("<think>", "</think>")
SPEC = GenerationSpec(max_new_tokens=4)


def template_of(name, **kwargs):
    tokenizer = byte_tokenizer()
    text = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")
    tokenizer.add_tokens([AddedToken(mark, special=True) for mark in ("<|channel|>", "<|message|>", "<|return|>")])
    tokenizer.bos_token = "<|im_start|>"
    tokenizer.chat_template = text
    return Template(tokenizer, template_kwargs=kwargs)


@pytest.mark.parametrize(
    ("name", "closing"),
    [
        ("qwen3", "</think>"),
        ("deepseek_r1_distill", "</think>"),
        ("gptoss", "<|channel|>final<|message|>"),
        ("llama3", None),
        ("qwen2_5", None),
    ],
)
def test_auto_strips_where_the_template_knows_thoughts(name, closing):
    marks = thought_marks(template_of(name), "auto")
    assert (marks and marks[1]) == closing
    assert thought_marks(template_of(name), False) is None
    assert thought_marks(template_of(name), True) == (marks or TAGS)


@pytest.mark.parametrize(
    ("name", "kwargs", "is_open"),
    [
        ("deepseek_r1_distill", {}, True),
        ("qwen3", {}, False),
        ("qwen3", {"enable_thinking": False}, False),
        ("qwen3_5_think", {}, True),
        ("nemotron_3_nano", {}, True),
    ],
)
def test_the_generation_prompt_may_open_the_thought(name, kwargs, is_open):
    assert thought_is_open(template_of(name, **kwargs), TAGS) == is_open


@pytest.mark.parametrize(
    ("text", "is_open", "answer"),
    [
        ("Hm.\n</think>\n\nYes.", True, "\n\nYes."),
        ("<think>Hm.</think>Yes.", False, "Yes."),
        ("<think>a</think>no <think>b</think>Yes.", False, "Yes."),
        ("Yes.", False, "Yes."),
        ("Hm, still thinking", True, ""),
        ("<think>Hm, still thinking", False, ""),
        ("<think>a</think>Well <think>and", False, ""),
        ("", True, ""),
    ],
)
def test_the_answer_is_what_follows_the_last_thought(text, is_open, answer):
    assert without_thought(text, TAGS, is_open=is_open) == answer


def backbone_of(template):
    return SimpleNamespace(template=template, tokenizer=template.tokenizer)


@pytest.mark.parametrize(
    ("name", "said", "response"),
    [
        ("deepseek_r1_distill", "Let me see.\n</think>\n\nGreen tea.", "Green tea."),
        ("deepseek_r1_distill", "Let me see", ""),
        ("qwen3", "<think>\nHm\n</think>\n\nGreen tea.", "Green tea."),
        ("qwen3", "Green tea.", "Green tea."),
        ("gptoss", "<|channel|>analysis<|message|>Hm<|channel|>final<|message|>Green tea.", "Green tea."),
        ("gptoss", "<|channel|>analysis<|message|>Hm", ""),
        ("llama3", "<think>Hm</think>Green tea.", "<think>Hm</think>Green tea."),
    ],
)
def test_generated_ids_become_the_answer_alone(name, said, response):
    backbone = backbone_of(template_of(name))
    ids = [*backbone.tokenizer.encode(said, add_special_tokens=False), *backbone.template.stop_ids[:1], 70, 71]
    assert response_text(ids, backbone, "auto") == response
    if "think" in said and name != "llama3":
        assert "Let" in response_text(ids, backbone, False) or "Hm" in response_text(ids, backbone, False)


def test_the_setting_is_checked_and_no_part_of_what_other_models_ledgers_are_known_by():
    with pytest.raises(ValueError, match=r"strip_reasoning is 'yes': choose auto or true or false"):
        replace(SPEC, strip_reasoning="yes")
    assert replace(SPEC, strip_reasoning=False).describe("noise") == SPEC.describe("noise")
    assert "strip_reasoning" not in SPEC.describe("noise")
