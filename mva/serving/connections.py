"""The server below the app: how many connections it has, how long each may be silent, and what it says of bad ones."""

from asyncio import TimerHandle, Transport
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 64
SECONDS_TO_ASK = 10.0
"""From the connection to the end of the first request's headers."""

SECONDS_TO_LISTEN = 30.0
"""A client that takes nothing of an answer for so long is left, as is one that neither asks again nor hangs up."""

LARGEST_HEADERS = 16_384  # bytes of a request's line and headers that have not come to their end
_SECONDS_BETWEEN_REQUESTS = 5


def settings(app: Starlette, **more: Any) -> uvicorn.Config:
    """Configure uvicorn to serve `app` to clients that nobody knows; `more` are further settings of uvicorn's."""
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        log_level="error",  # a request that is no HTTP is the client's business: answered with 400, not logged
        timeout_keep_alive=_SECONDS_BETWEEN_REQUESTS,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=LARGEST_HEADERS,
        **more,
    )


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol with a limit to its patience.

    Uvicorn itself waits without end for a first request, for the rest of a request and for a client to take its answer,
    and it counts connections only when they ask. Bodies are limited by the app.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._timers: dict[str, TimerHandle] = {}

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Take a connection, or hang up where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self.transport.abort()
        else:
            self._wait_for("request", SECONDS_TO_ASK)

    def data_received(self, data: bytes) -> None:
        """Take bytes; once a request's headers are complete, the app decides how long it takes."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._is_answering():
            self._stop_waiting_for("request")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; where an answer is under way already, hang up."""
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.abort()
        else:
            super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """Wait for the next request, and for the client to take what is left of the answer."""
        self._wait_for("request", SECONDS_TO_LISTEN)
        super().on_response_complete()
        if self._is_answering():  # a request that came while the last one was answered
            self._stop_waiting_for("request")

    def pause_writing(self) -> None:
        """Note that the client does not take what is written."""
        super().pause_writing()
        self._wait_for("listener", SECONDS_TO_LISTEN)

    def resume_writing(self) -> None:
        """Go on, with a client that takes what is written."""
        self._stop_waiting_for("listener")
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for awaited in list(self._timers):
            self._stop_waiting_for(awaited)
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for(self, awaited: str, seconds: float) -> None:
        self._stop_waiting_for(awaited)
        self._timers[awaited] = self.loop.call_later(seconds, self.transport.abort)

    def _stop_waiting_for(self, awaited: str) -> None:
        if awaited in self._timers:
            self._timers.pop(awaited).cancel()
