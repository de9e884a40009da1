"""A small chat endpoint on this machine that misbehaves as it is told."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


def chat_reply(content):
    return json.dumps({"choices": [{"message": {"content": content}}], "usage": {"total_tokens": 10}}).encode()


class FakeEndpoint:
    """Answers with the next of `script`, then by `decide(messages)`. A step: (status, headers, body) or "hang"."""

    def __init__(self):
        self.script, self.requests, self.times, self.paths = [], [], [], []
        self.decide = lambda messages: '{"winner": "first"}'
        self.released = threading.Event()
        self._lock = threading.Lock()

    def next(self, request, headers, path):
        with self._lock:
            self.requests.append((request, headers))
            self.times.append(time.monotonic())
            self.paths.append(path)
            if self.script:
                return self.script.pop(0)
        return 200, {}, chat_reply(self.decide(request["messages"]))


def handler_of(fake):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            step = fake.next(request, dict(self.headers), self.path)
            self.close_connection = True
            if step == "hang":
                fake.released.wait(10)
                return
            status, headers, body = step
            self.send_response(status)
            for name, content in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, content)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture
def endpoint(monkeypatch):
    fake = FakeEndpoint()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(fake))
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    for name, content in {"URL": fake.url, "MODEL": "judge-1", "KEY": "sk-very-secret"}.items():
        monkeypatch.setenv(f"MVA_JUDGE_{name}", content)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield fake
    fake.released.set()
    server.shutdown()
    thread.join()
    server.server_close()
