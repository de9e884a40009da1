"""The page's server: the page, the front, and answers as they are spoken (one JSON object a line)."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from threading import Lock
from typing import Any

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mva.serving.question import BadQuestion, Question, read_question
from mva.serving.speaker import Answers, Speaker

LARGEST_BODY = 1_000_000
SECONDS_FOR_BODY = 10.0
# The page brings all that it needs: whatever slipped into it could load nothing and talk to nobody else.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class _Stream(StreamingResponse):
    """A stream whose source is closed as soon as nobody listens any more."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        super().__init__(lines, media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})
        self._lines: Any = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._lines):
            await super().__call__(scope, receive, send)


def make_app(speaker: Speaker, *, page: str, front: Mapping[str, Any], hosts: Sequence[str]) -> Starlette:
    """Make the server.

    Args:
        speaker: Answers one question after the other, in the order of their coming.
        page: The page's HTML.
        front: What `/api/front` gives.
        hosts: The names and addresses by which it may be called. Any other Host header is refused, so that a foreign
            page can't reach the server by letting its own name point here (DNS rebinding).
    """
    turn = anyio.Lock()

    async def show_page(_request: Request) -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    async def show_front(_request: Request) -> Response:
        return JSONResponse(dict(front))

    async def answer(request: Request) -> Response:
        try:
            question = await run_sync(read_question, await _body(request), speaker)
        except BadQuestion as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        return _Stream(_lines(speaker, question, turn))

    routes = [Route("/", show_page), Route("/api/front", show_front), Route("/api/answer", answer, methods=["POST"])]
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=[host.lower() for host in hosts], www_redirect=False)
    return Starlette(routes=routes, middleware=[guard])


async def _body(request: Request) -> bytes:
    # A foreign page may post forms and plain text anywhere, but JSON only to a server that allows it; this one doesn't.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadQuestion("A question is sent as application/json.")
    body = bytearray()
    with anyio.move_on_after(SECONDS_FOR_BODY):
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                raise BadQuestion(f"The question is longer than {LARGEST_BODY} bytes: shorten the prompt.")
        return bytes(body)
    raise BadQuestion(f"The question did not arrive within {SECONDS_FOR_BODY:g} seconds: send it again.")


async def _lines(speaker: Speaker, question: Question, turn: anyio.Lock) -> AsyncIterator[str]:
    """Speak, when it is this question's turn; a step that has begun is waited for, then the model is left clean."""
    async with turn:
        answers, stepping = speaker.answers(question.prompt, question.coefficients), Lock()

        def step() -> Answers | None:
            with stepping:
                return next(answers, None)

        try:
            while (said := await run_sync(step)) is not None:
                yield json.dumps(asdict(said)) + "\n"
        finally:
            with stepping:  # Ctrl-C cuts off the wait for a step, not the step
                answers.close()
