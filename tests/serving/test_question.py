import json
import math

import pytest

from mva.serving.question import BadQuestion, read_question

GOOD = {"prompt": " Hi ", "coefficients": {"harmless": 0.25, "helpful": 1.5}}


def test_coefficients_come_in_the_order_of_the_space_and_the_prompt_is_trimmed(speaker):
    question = read_question(json.dumps(GOOD).encode(), speaker)
    assert question.coefficients == (1.5, 0.25)
    assert [turn.content for turn in question.prompt] == ["Hi"]


def with_helpful(omega):
    return {**GOOD, "coefficients": {"helpful": omega, "harmless": 0.25}}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ([1], "exactly two parts"),
        ({"prompt": "Hi"}, "exactly two parts"),
        ({**GOOD, "model": "other"}, "exactly two parts"),
        ({**GOOD, "prompt": " \n"}, "prompt is empty"),
        ({**GOOD, "prompt": 3}, "prompt is empty"),
        ({**GOOD, "prompt": "x" * 65}, "of which 64 can be read: shorten it"),
        ({**GOOD, "prompt": "\ud800"}, "lone surrogate"),
        ({**GOOD, "coefficients": {"helpful": 1}}, "one coefficient for each of helpful, harmless"),
        ({**GOOD, "coefficients": {**GOOD["coefficients"], "honest": 1}}, "one coefficient for each of helpful, harmless"),
        ({**GOOD, "coefficients": [1, 1]}, "one coefficient for each of helpful, harmless"),
        (with_helpful("1"), "coefficient of helpful is no number"),
        (with_helpful(True), "coefficient of helpful is no number"),
        (with_helpful(None), "coefficient of helpful is no number"),
        (with_helpful(math.nan), "coefficient of helpful is no number"),
        (with_helpful(math.inf), "coefficient of helpful is no number"),
        (with_helpful(10**400), "coefficient of helpful is no number"),
        (with_helpful([1]), "coefficient of helpful is no number"),
        (with_helpful(1.51), "coefficient of helpful is 1.51: it has to lie between 0 and 1.5"),
        (with_helpful(-0.01), "coefficient of helpful is -0.01: it has to lie between 0 and 1.5"),
    ],
)  # fmt: skip
def test_a_bad_question_is_refused_in_one_sentence(body, sentence, speaker):
    with pytest.raises(BadQuestion, match=sentence) as refused:
        read_question(body if isinstance(body, bytes) else json.dumps(body).encode(), speaker)
    assert "\n" not in str(refused.value)


def test_a_prompt_that_the_chat_template_refuses_is_a_bad_question(make_speaker):
    speaker = make_speaker(max_prompt_tokens=64)
    tokenizer = speaker.backbone.tokenizer
    template = "{% if 'x' in messages[0]['content'] %}{{ raise_exception('no x') }}{% endif %}"
    tokenizer.chat_template = template + tokenizer.chat_template
    with pytest.raises(BadQuestion, match=r"can't read this prompt: .*no x"):
        read_question(json.dumps({**GOOD, "prompt": "x"}).encode(), speaker)
    assert read_question(json.dumps(GOOD).encode(), speaker).prompt[0].content == "Hi"
