"""The server as a client meets it: over a socket of this machine."""

import asyncio
import http.client
import json
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import asdict, replace

import anyio
import pytest
import torch

from mva.data.preference import user_prompt
from mva.serving.question import Question
from mva.serving.server import LARGEST_BODY, _lines, make_app
from mva.serving.speaker import Answers

ASKED = {"prompt": "Hi", "coefficients": {"helpful": 1.0, "harmless": 0.5}}
HOSTS = ["127.0.0.1", "localhost"]


@pytest.fixture
def port(speaker, serve):
    return serve(make_app(speaker, page="<p>page</p>", front={"values": ["helpful"]}, hosts=HOSTS))


@contextmanager
def send(port, method, path, body=None, **headers):
    """Send a request; gives its response, and hangs up at the end of the `with`."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, names)
        with connection.getresponse() as response:
            yield response


def ask(port, question=ASKED):
    return send(port, "POST", "/api/answer", json.dumps(question), content_type="application/json")


def said_in(response):
    return [json.loads(line) for line in response.read().splitlines()]


def test_an_answer_is_streamed_line_by_line_as_the_speaker_says_it(port, speaker):
    with ask(port) as response:
        lines = said_in(response)
    expected = [asdict(one) for one in speaker.answers(user_prompt("Hi"), (1.0, 0.5))]
    assert lines == [{**one, "finished": list(one["finished"])} for one in expected]
    assert response.headers["Cache-Control"] == "no-store"


def test_a_line_arrives_before_the_next_token_is_spoken(speaker, serve, monkeypatch):
    go_on = threading.Event()
    spoken = speaker.answers

    def hesitant(*question):
        for said in spoken(*question):
            yield said
            assert go_on.wait(30)

    monkeypatch.setattr(speaker, "answers", hesitant)
    with ask(serve(make_app(speaker, page="", front={}, hosts=HOSTS))) as response:
        assert json.loads(response.readline())["tokens"] == 1
        go_on.set()
        assert said_in(response)[-1]["finished"] == [True, True]


def test_the_page_may_load_nothing_from_elsewhere(port):
    with send(port, "GET", "/") as response:
        assert response.read() == b"<p>page</p>"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy


def test_the_front_is_plain_json(port):
    with send(port, "GET", "/api/front") as response:
        assert json.load(response) == {"values": ["helpful"]}


def test_a_bad_question_is_answered_with_400_and_its_sentence(port):
    with ask(port, {**ASKED, "prompt": ""}) as response:
        assert response.status == 400
        assert json.load(response) == {"error": "The prompt is empty: write something."}


def test_what_a_foreign_page_could_post_is_refused(port):
    with send(port, "POST", "/api/answer", json.dumps(ASKED), content_type="text/plain") as response:
        assert response.status == 400
        assert "application/json" in json.load(response)["error"]


def test_a_body_beyond_all_measure_is_refused(port):
    with ask(port, {**ASKED, "prompt": "x" * LARGEST_BODY}) as response:
        assert response.status == 400
        assert "shorten the prompt" in json.load(response)["error"]


@pytest.mark.parametrize(
    ("host", "status"), [("localhost", 200), ("LOCALHOST:80", 200), ("evil.example", 400), ("", 400)]
)
def test_only_its_own_names_are_answered(port, host, status):
    with send(port, "GET", "/", Host=host) as response:
        assert response.status == status


@pytest.mark.parametrize(("path", "status"), [("/../config.yaml", 404), ("/api/answer", 405)])
def test_other_paths_and_methods_are_not_there(port, path, status):
    with send(port, "GET", path) as response:
        assert response.status == status


def test_questions_wait_for_their_turn(port):
    last = []

    def listen():
        with ask(port) as response:
            last.append(response.read().splitlines()[-1])

    threads = [threading.Thread(target=listen) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(last) == 3
    assert len(set(last)) == 1, "an answer was disturbed by another one"


def test_who_hangs_up_stops_the_generation_and_the_next_is_served(speaker, serve, monkeypatch):
    monkeypatch.setattr(speaker, "spec", replace(speaker.spec, max_new_tokens=900))
    port = serve(make_app(speaker, page="", front={}, hosts=HOSTS))
    ids = torch.tensor([[5, 6, 7]])
    base = speaker.backbone.model(ids).logits
    closed = threading.Event()
    spoken = speaker.answers

    def watched(*question):
        try:
            yield from spoken(*question)
        finally:
            closed.set()

    monkeypatch.setattr(speaker, "answers", watched)
    with ask(port) as response:
        assert json.loads(response.readline())["tokens"] == 1
    started = time.monotonic()
    assert closed.wait(10), f"still speaking {time.monotonic() - started:.1f} s after its listener left"
    assert torch.equal(speaker.backbone.model(ids).logits, base), "the model was left gated"
    monkeypatch.setattr(speaker, "spec", replace(speaker.spec, max_new_tokens=2))
    with ask(port) as response:
        assert said_in(response)[-1]["tokens"] == 2


def test_a_step_whose_wait_is_cut_off_is_waited_for_before_the_answer_is_closed(speaker, monkeypatch):
    begun, finish, closed = threading.Event(), threading.Event(), []

    def slow(*_):
        try:
            begun.set()
            finish.wait(20)
            yield Answers("", "", 1, (False, False))
        finally:
            closed.append(finish.is_set())

    async def cut_off():
        lines = _lines(speaker, Question(user_prompt("Hi"), (1.0, 1.0)), anyio.Lock())
        wait = asyncio.ensure_future(anext(lines))
        await asyncio.to_thread(begun.wait, 20)
        wait.cancel()
        threading.Timer(0.2, finish.set).start()
        with pytest.raises(asyncio.CancelledError):
            await wait

    monkeypatch.setattr(speaker, "answers", slow)
    asyncio.run(cut_off())
    assert closed == [True]
