"""The endpoint judge, against a server that limits, fails, hangs and rambles."""

import json
import logging

import pytest

from mva.judging.base import Question, Response
from mva.judging.chat import Access, EndpointRefused
from mva.judging.endpoint import ANSWERS, Endpoint, read_verdict
from mva.judging.win_rate import judge_pairs, win_rate

GOOD = b'{"choices": [{"message": {"content": "{\\"winner\\": \\"second\\"}"}}], "usage": {"total_tokens": 10}}'


def spec(**settings):
    quick = {"concurrency": 1, "timeout": 5.0, "retries": 3, "back_off": 0.0, "descriptions": {"helpful": "kinder"}}
    return Endpoint("Judge $value.", "$description [$mark] $prompt|$first|$second", **{**quick, **settings})


def question(first="a", second="b", prompt="Why?"):
    return Question("helpful", prompt, Response(first, {}), Response(second, {}))


def many(n):
    return [question(prompt=f"Prompt {k}") for k in range(n)]


def ask(folder, questions, **settings):
    return spec(**settings).open(folder).compare(questions, lambda _: None)


def verdicts(answers):
    return [answer.verdict for answer in answers]


def test_a_limited_request_waits_as_long_as_the_server_says(endpoint, tmp_path):
    endpoint.script = [(429, {"Retry-After": "1"}, b"{}"), (200, {}, GOOD)]
    assert verdicts(ask(tmp_path, [question()])) == ["second"]
    assert endpoint.times[1] - endpoint.times[0] >= 1


def test_server_errors_and_time_outs_are_tried_again(endpoint, tmp_path):
    endpoint.script = [(500, {}, b"oops"), "hang", (503, {}, b""), (200, {}, GOOD)]
    assert verdicts(ask(tmp_path, [question()], timeout=0.3)) == ["second"]
    assert len(endpoint.requests) == 4


def test_back_off_doubles(endpoint, tmp_path):
    endpoint.script = [(500, {}, b"")] * 3
    ask(tmp_path, [question()], back_off=0.1)
    # urllib3: the first retry at once, then factor * 2^(n - 1) and up to 0.1 s of jitter.
    waits = [later - earlier for earlier, later in zip(endpoint.times, endpoint.times[1:], strict=False)]
    assert waits[1] >= 0.2
    assert waits[2] >= 0.4


@pytest.mark.parametrize(
    "broken",
    [
        (200, {}, GOOD[:40]),
        (200, {"Content-Length": "500"}, GOOD[:40]),
        (200, {}, b"[1, 2]"),
        (200, {}, b'{"choices": []}'),
        (200, {}, b"<html>busy</html>"),
        (200, {}, b'{"choices": [{"message": {"content": "I like both!"}}]}'),
        (200, {}, b'{"choices": [{"message": {"content": null}}]}'),
    ],
)
def test_malformed_answers_are_asked_for_again(endpoint, tmp_path, broken):
    endpoint.script = [broken, (200, {}, GOOD)]
    assert verdicts(ask(tmp_path, [question()])) == ["second"]


def test_what_stays_malformed_is_no_verdict_and_no_tie(endpoint, tmp_path):
    endpoint.decide = lambda messages: "as a language model"
    judge = spec(malformed_retries=2).open(tmp_path)
    judged = judge_pairs(judge, [question()], lambda _: None)
    assert len(endpoint.requests) == 2 * 3
    rate = win_rate(judged)
    assert (rate.ties, rate.no_verdict, rate.n, rate.rate) == (0, 1, 0, None)
    assert judged[0].as_first.problem == "malformed answer"


def test_what_was_answered_is_never_asked_again_nor_after_a_kill(endpoint, tmp_path):
    first = ask(tmp_path, many(4), concurrency=3)
    with (tmp_path / ANSWERS).open("a") as file:
        file.write('{"key": "torn')
    with pytest.warns(UserWarning, match="unfinished"):
        judge = spec().open(tmp_path)
    assert judge.estimate(many(4)).requests == 0
    assert judge.compare(many(4), lambda _: None) == first
    assert len(endpoint.requests) == 4
    assert judge.estimate(many(5)).requests == 1


def test_equal_questions_are_asked_once(endpoint, tmp_path):
    assert verdicts(ask(tmp_path, [question(), question()])) == ["first", "first"]
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 1.0},
        {"malformed_retries": 9},
        {"descriptions": {"helpful": "ruder"}},
    ],
)
def test_what_changes_the_request_and_nothing_else_asks_anew(endpoint, tmp_path, change):
    ask(tmp_path, [question()])
    ask(tmp_path, [question()], **change)
    assert len(endpoint.requests) == (1 if "malformed_retries" in change else 2)


@pytest.mark.parametrize(("status", "words"), [(401, "refuses the key"), (404, "no model 'judge-1'")])
def test_a_hopeless_status_stops_at_once_with_one_sentence(endpoint, tmp_path, status, words):
    endpoint.script = [(status, {}, b'{"error": {"message": "sk-very-secret is wrong"}}')] * 50
    with pytest.raises(EndpointRefused, match=words) as stopped:
        ask(tmp_path, many(50))
    assert "secret" not in str(stopped.value)
    assert len(endpoint.requests) <= 3  # those under way when the first came back


def test_an_endpoint_that_is_down_stops_after_a_few_and_the_answers_stay(endpoint, tmp_path):
    ask(tmp_path, many(2))
    endpoint.script = [(500, {}, b"")] * 100
    with pytest.raises(EndpointRefused, match="failed 5 times in a row, at last with: HTTP 500"):
        ask(tmp_path, many(20), retries=0)
    endpoint.script = []
    asked = len(endpoint.requests)
    assert verdicts(ask(tmp_path, many(20))) == ["first"] * 20
    assert len(endpoint.requests) == asked + 18


def test_a_single_failing_question_is_no_verdict_and_is_asked_again_next_time(endpoint, tmp_path):
    endpoint.script = [(400, {}, b'{"error": {"message": "too long for sk-very-secret"}}')]
    answers = ask(tmp_path, many(3))
    assert verdicts(answers) == [None, "first", "first"]
    assert answers[0].problem == "HTTP 400: too long for ***"
    assert verdicts(ask(tmp_path, many(3))) == ["first"] * 3


def test_the_key_is_sent_and_written_nowhere(endpoint, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    endpoint.decide = lambda messages: '{"winner": "tie"} sk-very-secret'
    endpoint.script = [(500, {}, b"")]
    judge = spec().open(tmp_path)
    judge.compare([question()], lambda _: None)
    assert endpoint.requests[0][1]["Authorization"] == "Bearer sk-very-secret"
    assert endpoint.paths[0] == "/v1/chat/completions"
    assert "very-secret" not in (tmp_path / ANSWERS).read_text()
    assert "very-secret" not in caplog.text + json.dumps(judge.record) + repr(Access.from_environment())


def test_the_request_holds_model_texts_and_a_mark_that_the_texts_decide():
    body = spec(extra={"seed": 7}).body(question(first="{x} $first [/mark]"), model="m")
    system, user = (turn["content"] for turn in body["messages"])
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("m", 0.0, 64, 7)
    assert system == "Judge helpful."
    assert user.startswith("kinder [")
    assert user.endswith("] Why?|{x} $first [/mark]|b")
    assert body["messages"] != spec().body(question(first="other"), model="m")["messages"]
    assert "max_tokens" not in spec(max_tokens=None).body(question(), model="m")


def test_the_estimate_counts_requests_and_tokens(endpoint, tmp_path):
    # System: 14 characters. User, "kinder [" + mark + "] Why?|a|b": 8 + 12 + 10. A token is 4 characters; 64 for the reply.
    cost = spec().open(tmp_path).estimate([question()])
    assert (cost.requests, cost.tokens) == (1, 75)
    assert endpoint.requests == []


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        ('{"winner": "tie"}', "tie"),
        ('Thinking...\n```json\n{ "winner" : "First" }\n```', "first"),
        ('{"winner": "first"} or {"winner": "second"}', None),
        ('{"winner": "neither"}', None),
        ("first", "first"),
        (None, None),
    ],
)
def test_a_verdict_is_read_only_where_it_is_unmistakable(content, verdict):
    assert read_verdict(content) == verdict


def test_openais_own_key_goes_to_openai_alone():
    keys = {"MVA_JUDGE_MODEL": "m", "OPENAI_API_KEY": "sk-openai"}
    assert Access.from_environment({**keys, "MVA_JUDGE_URL": "https://api.openai.com/v1"}).key == "sk-openai"
    assert Access.from_environment({**keys, "MVA_JUDGE_URL": "https://api.openai.com.evil.org/v1"}).key is None
    assert Access.from_environment({**keys, "MVA_JUDGE_URL": "http://localhost:8000/v1/"}).url.endswith("/v1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"MVA_JUDGE_MODEL": ""},
        {"MVA_JUDGE_URL": ""},
        {"MVA_JUDGE_URL": "localhost:8000"},
        {"MVA_JUDGE_URL": "http://me:sk-very-secret@host/v1"},
        {"MVA_JUDGE_KEY": "sk-very\nsecret"},
    ],
)
def test_a_wrong_environment_is_refused_without_telling_the_key(wrong):
    with pytest.raises(ValueError, match="MVA_JUDGE") as refused:
        Access.from_environment({"MVA_JUDGE_URL": "http://host/v1", "MVA_JUDGE_MODEL": "m", **wrong})
    assert "sk-very" not in str(refused.value)


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"timeout": 0.0}, {"retries": -1}, {"back_off": -1.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"^(concurrency|timeout|retries|back_off) is"):
        spec(**wrong)


@pytest.mark.parametrize("template", ["$prompt $first", "$prompt $first $second $third"])
def test_a_template_that_lacks_a_text_or_names_another_is_refused(template):
    with pytest.raises(ValueError, match=r"^question holds .*question needs \$first, \$prompt, \$second"):
        Endpoint("", template, {})
