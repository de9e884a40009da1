"""Replies as real judges and gateways give them: read where they are clear, failed where they are errors."""

import json
import time
import warnings

import pytest

from mva.judging.base import Question, Response
from mva.judging.chat import EndpointRefused
from mva.judging.endpoint import ANSWERS, Endpoint
from mva.judging.verdict import read_verdict

CLEAR = {
    '{"winner": "first"}': "first",
    '{"winner": "second", "reason": "It answers the question."}': "second",
    '{"reason": "It answers {well}.", "winner": "first"}': "first",
    '{"reason": "The first one is nicer", "winner": "second"}': "second",
    '```json\n{"winner": "tie"}\n```': "tie",
    '{"Winner": "First"}': "first",
    '{"WINNER": "SECOND"}': "second",
    '{"winner": "A"}': "first",
    '{"winner": "B"}': "second",
    '{"winner": "b", "confidence": 0.9}': "second",
    "{'winner': 'first'}": "first",
    "{'winner': 'second', 'reason': 'it\\'s short'}": "second",
    '{"winner": "first",}': "first",
    '{winner: "tie"}': "tie",
    '{ "winner" : "draw" }': "tie",
    "winner: second": "second",
    "Winner = B": "second",
    "first": "first",
    "**Second**": "second",
    "A": "first",
    "b.": "second",
    "Tie": "tie",
    "`first`": "first",
    '"second"': "second",
    "The first answer": "first",
    "Answer B": "second",
    'Sure! Here it is: {"winner": "first"} Hope it helps.': "first",
    '{"scores": {"a": 1}} {"winner": "second"}': "second",
    '<think>At first {"winner": "second"}, but no.</think>\n{"winner": "first"}': "first",
    '<think>a</think><think>b {"winner": "first"}</think>{"winner": "second"}': "second",
    'Let me see. {"winner": "first"}</think>{"winner": "tie"}': "tie",
    '{"winner": "first"} {"winner": "first"}': "first",
}
UNCLEAR = [
    None, "", " ", "first or second", "I can't say.", '{"winner": "neither"}', '{"winner": null}', '{"winner": 1}',
    '{"winner": ["first"]}', '{"winner": "first"} or {"winner": "second"}', '<think>{"winner": "first"}',
    "<think>still thinking", "{}", "[]", '{"loser": "first"}', "first second", "a b", "AB", "first place goes to B",
    '{"winner": "firstly"}', "winner", "{" * 5000, '{"a":' * 3000, "C", '{"winner": ""}', "the winner is unclear",
    '{"winner": {"winner": "first"}, "x": {"winner": "second"}}',
]  # fmt: skip


@pytest.mark.parametrize(("reply", "verdict"), CLEAR.items())
def test_a_clear_verdict_is_read_in_any_wrapping(reply, verdict):
    assert read_verdict(reply) == verdict


@pytest.mark.parametrize("reply", UNCLEAR)
def test_an_unclear_reply_is_no_verdict(reply):
    assert read_verdict(reply) is None


def judge(folder, **settings):
    spec = {"retries": 2, "back_off": 0.0, "malformed_retries": 0, "concurrency": 1, **settings}
    return Endpoint("You judge.", "$prompt $first $second", {}, **spec).open(folder)


def ask(folder, **settings):
    question = Question("kind", "Why?", Response("one", {}), Response("two", {}))
    (answer,) = judge(folder, **settings).compare([question], lambda _done: None)
    return answer


def reply(message, **more):
    return json.dumps({"choices": [{"message": message, **more}]}).encode()


FAULTS = [
    (200, {}, json.dumps({"error": {"message": "upstream failed", "code": 429}, "user_id": "u"}).encode()),
    (200, {}, json.dumps({"id": None, "choices": None}).encode()),
    (200, {}, json.dumps({"choices": []}).encode()),
    (200, {}, json.dumps({"error": "busy"}).encode()),
    (503, {}, b"{}"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_in_any_reply_is_tried_again_and_never_kept(tmp_path, endpoint, fault):
    endpoint.script = [fault] * 3
    answer = ask(tmp_path)
    assert answer.verdict is None
    assert "HTTP 503" in answer.problem or "status 200" in answer.problem
    assert len(endpoint.requests) == 3
    assert not (tmp_path / ANSWERS).exists()
    endpoint.script = [fault]
    assert ask(tmp_path).verdict == "first"
    assert len(endpoint.requests) == 5


def test_a_content_of_parts_is_their_text(tmp_path, endpoint):
    parts = [{"type": "text", "text": '{"winner": '}, {"type": "image"}, {"type": "text", "text": '"second"}'}]
    endpoint.script = [(200, {}, reply({"content": parts}))]
    assert ask(tmp_path).verdict == "second"


def test_a_reply_that_is_cut_off_says_which_setting_is_too_small_and_is_not_kept(tmp_path, endpoint):
    endpoint.script = [(200, {}, reply({"content": None, "reasoning_content": "Hm"}, finish_reason="length"))]
    answer = ask(tmp_path, max_tokens=12)
    assert answer.problem == "the reply ends before its verdict: judge.by.max_tokens=12 is too small"
    assert ask(tmp_path, max_tokens=12).verdict == "first"


def test_a_verdict_that_is_there_counts_although_the_reply_is_cut_off(tmp_path, endpoint):
    endpoint.script = [(200, {}, reply({"content": '{"winner": "second"} because'}, finish_reason="length"))]
    assert ask(tmp_path).verdict == "second"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            (429, {}, json.dumps({"error": {"message": "used up", "code": "insufficient_quota"}}).encode()),
            "quota of the key",
        ),
        (
            (400, {}, json.dumps({"error": {"message": "send max_completion_tokens"}}).encode()),
            r"judge\.by\.max_tokens=null",
        ),
        ((200, {"Content-Type": "text/event-stream"}, b"data: {}"), r"judge\.by\.extra={stream: false}"),
    ],
)
def test_what_would_be_the_same_the_next_time_ends_at_once_with_the_mend(tmp_path, endpoint, step, message):
    endpoint.script = [step] * 5
    with pytest.raises(EndpointRefused, match=message):
        ask(tmp_path, retries=5)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("header", ["3600", "Fri, 31 Dec 2399 23:59:59 GMT"])
def test_a_long_retry_after_is_capped_and_said(tmp_path, endpoint, header):
    endpoint.script = [(429, {"Retry-After": header}, b"{}")]
    start = time.monotonic()
    message = r"127\.0\.0\.1 is tried again in 0\.2 s\. It asks for .*judge\.by\.backoff_max allows"
    with pytest.warns(UserWarning, match=message) as warned:
        assert ask(tmp_path, backoff_max=0.2).verdict == "first"
    assert len(warned) == 1
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("header", ["-5", "soon", "", "0"])
def test_an_odd_retry_after_does_not_stop_anything(tmp_path, endpoint, header):
    endpoint.script = [(429, {"Retry-After": header}, b"{}")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ask(tmp_path).verdict == "first"


def test_replies_that_an_earlier_version_could_not_read_are_read_again(tmp_path, endpoint):
    assert ask(tmp_path).verdict == "first"
    path = tmp_path / ANSWERS
    line = json.loads(path.read_text())
    path.write_text(json.dumps({**line, "verdict": None, "reply": "{'winner': 'second'}"}) + "\n")
    assert ask(tmp_path).verdict == "second"
    assert len(endpoint.requests) == 1
