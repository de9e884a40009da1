"""The server under abuse: silent, slow, deaf and broken clients, and requests of any bytes."""

import http.client
import json
import logging
import random
import socket
import struct
import time
from contextlib import ExitStack, closing

import pytest

from mva.serving import connections, server
from mva.serving.connections import LARGEST_HEADERS, MOST_CONNECTIONS
from mva.serving.server import make_app

ASKED = json.dumps({"prompt": "Hi", "coefficients": {"helpful": 1.0, "harmless": 0.5}}).encode()
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /api/answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST
PAGE = "<p>page</p>"


@pytest.fixture(autouse=True)
def _quiet(capfd, caplog):
    """Check at the end that nobody complained of anything; made before the server, which keeps the stream of its time."""
    caplog.set_level(logging.WARNING)
    yield
    assert capfd.readouterr().err == ""
    assert caplog.messages == []


@pytest.fixture
def port(speaker, serve, request):
    return serve(make_app(speaker, page=getattr(request, "param", PAGE), front={}, hosts=["localhost", "127.0.0.1"]))


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def left_after(client, most):
    """Wait for the server to hang up; gives the seconds that it took, and what it sent."""
    start, received = time.monotonic(), b""
    client.settimeout(most)
    try:
        while chunk := client.recv(1 << 16):
            received += chunk
    except ConnectionResetError:
        pass
    return time.monotonic() - start, received


def is_open(client):
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def bytes_taken(client):
    """Send a byte every 0.05 seconds, 200 at most; gives how many went before the server hung up."""
    for sent in range(200):
        try:
            client.sendall(b"X")
        except OSError:
            return sent
        time.sleep(0.05)
    return 200


def works(port):
    """Load the page and ask a question, as a browser does."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request("GET", "/")
        page = client.getresponse().read()
        client.request("POST", "/api/answer", ASKED, {"Content-Type": "application/json"})
        last = json.loads(client.getresponse().read().splitlines()[-1])
    return page == PAGE.encode() and last["finished"] == [True, True]


def test_of_three_hundred_silent_connections_none_stays(port, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS_TO_ASK", 1.0)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(300)]
        time.sleep(0.3)
        assert sum(map(is_open, clients)) <= MOST_CONNECTIONS
        time.sleep(1.2)
        assert not any(map(is_open, clients))
        assert works(port)


@pytest.mark.parametrize("begun", [b"", b"GET", GET[:-2], b"POST / HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_request_that_never_ends_is_left(port, monkeypatch, begun):
    monkeypatch.setattr(connections, "SECONDS_TO_ASK", 0.5)
    with connect(port) as client:
        client.sendall(begun)
        seconds, received = left_after(client, 10)
        assert seconds < 5
        assert received == b""


def test_a_request_that_drips_is_left_however_often_a_byte_comes(port, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS_TO_ASK", 0.6)
    with connect(port) as client:
        assert 5 < bytes_taken(client) < 100


def test_a_body_that_drips_is_refused_and_its_connection_left(port, monkeypatch):
    monkeypatch.setattr(server, "SECONDS_FOR_BODY", 0.5)
    monkeypatch.setattr(connections, "SECONDS_TO_LISTEN", 0.5)
    with connect(port) as client:
        client.sendall(POST % (1000, b"{"))
        received = b""
        while b"\r\n\r\n{" not in received:
            received += client.recv(1 << 16)
        assert received.endswith(b'{"error":"The question did not arrive within 0.5 seconds: send it again."}')
        assert bytes_taken(client) < 100


@pytest.mark.parametrize("port", ["x" * 50_000_000], indirect=True, ids=["large page"])
def test_a_client_that_does_not_read_is_left(port, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS_TO_LISTEN", 0.5)
    with connect(port) as client:
        client.sendall(GET)
        time.sleep(2)
        _, received = left_after(client, 10)
    assert len(received) < 50_000_000


def test_a_client_that_neither_asks_again_nor_hangs_up_is_left(port, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS_TO_LISTEN", 0.5)
    with connect(port) as client:
        client.sendall(GET)
        seconds, received = left_after(client, 10)
    assert received.endswith(PAGE.encode())
    assert seconds < 5


def test_an_answer_may_take_longer_than_any_of_these(speaker, port, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS_TO_ASK", 0.2)
    monkeypatch.setattr(connections, "SECONDS_TO_LISTEN", 0.2)
    spoken = speaker.answers

    def slow(*question):
        for answers in spoken(*question):
            time.sleep(0.15)
            yield answers

    monkeypatch.setattr(speaker, "answers", slow)
    assert works(port)


@pytest.mark.parametrize(
    "cut",
    [b"", GET[:20], POST % (len(ASKED), ASKED[:10]), POST % (len(ASKED), ASKED), POST % (2 * len(ASKED), ASKED)],
    ids=["silence", "headers", "body", "answer", "promised body"],
)
def test_hanging_up_is_nothing_to_speak_of(port, cut):
    for number in range(30):
        with connect(port) as client:
            client.sendall(cut)
            time.sleep(0.01 * (number % 3))
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    assert works(port)


@pytest.mark.parametrize("lines", [b"X: " + b"y" * 1_000_000, b"X: y\r\n" * 100_000])
def test_headers_without_end_are_refused(port, lines):
    with connect(port) as client:
        try:
            client.sendall(GET[:-2])
            for start in range(0, len(lines), LARGEST_HEADERS // 4):
                client.sendall(lines[start : start + LARGEST_HEADERS // 4])
                time.sleep(0.002)
        except OSError:
            pass  # it hung up in the middle, which is as good
        _, received = left_after(client, 10)
    assert received == b"" or b" 400 " in received
    assert works(port)


HEADERS = [
    b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 5\r\nContent-Length: 6", b"Host:",
    b"Host: [::1", b"Host: a\r\nHost: b", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: upgrade", b"Connection: close", b"Connection: upgrade, \xff", b"Cookie: " + b"c" * 9000,
    b"X-Forwarded-For: \x1b[2J", b"Content-Type: application/json; \x00", b": empty", b" folded", b"Range: bytes=9-1",
]  # fmt: skip
TARGETS = [
    b"/", b"/../../etc/passwd", b"/%00", b"/%ff%fe", b"*", b"http://evil.example/", b"/" + b"a" * 20_000, b"//", b"?", b"/api/answer?x",
    b"/api/front", b"\xff", b"", b"/%2e%2e/config.yaml",
]  # fmt: skip
BODIES = [
    ASKED, b"", b"null", b"[]", b"[" * 100_000, b'{"prompt": 1, "coefficients": {}}', b'{"prompt": "\\ud800", "coefficients": {}}',
    ASKED.replace(b"1.0", b"1" * 5000), ASKED.replace(b"1.0", b"NaN"), ASKED.replace(b"0.5", b"-1e999"), ASKED.replace(b"Hi", b"\xff"),
    ASKED.replace(b"Hi", b"\\u0000"), b'{"prompt": {}, "prompt": []}', b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"fffffffffffffffff\r\nx",
]  # fmt: skip
WHOLE = [
    GET,
    b"\x16\x03\x01\x02\x00\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\r\n",
    b"\r\n" * 500,
    b"\x00" * 300,
    GET * 30,
]


def any_request(numbers):
    """A request that is whole, odd, or damaged."""
    if numbers.random() < 0.15:
        request = numbers.choice(WHOLE)
    else:
        method = numbers.choice(
            [b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"get", b"CONNECT", b"\x1b[2J", b""]
        )
        headers = [
            b"Host: localhost",
            b"Content-Type: application/json",
            *numbers.sample(HEADERS, numbers.randrange(3)),
        ]
        body = numbers.choice(BODIES)
        if numbers.random() < 0.7:
            headers.append(b"Content-Length: %d" % len(body))
        target = b"/api/answer" if numbers.random() < 0.5 else numbers.choice(TARGETS)
        version = numbers.choice([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/9.9", b""])
        request = b" ".join([method, target, version]) + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body
    damaged = bytearray(request)
    for _ in range(numbers.choice([0, 0, 1, 3])):
        place = numbers.randrange(len(damaged) + 1)
        damaged[place : place + numbers.randrange(4)] = numbers.randbytes(numbers.randrange(5))
    return bytes(damaged) * numbers.choice([1, 1, 1, 2])


def abuse(port, count):
    numbers = random.Random(12)
    for _ in range(count):
        request = any_request(numbers)
        with connect(port) as client:
            client.settimeout(numbers.choice([0.001, 0.001, 0.02]))
            try:
                client.sendall(request)
                if numbers.random() < 0.3:
                    client.shutdown(socket.SHUT_WR)
                client.recv(1 << 16)
            except OSError:
                pass  # refused, or left without an answer
            if numbers.random() < 0.3:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_requests_of_any_bytes_leave_it_standing_and_quiet(port, count):
    abuse(port, count)
    assert works(port)
