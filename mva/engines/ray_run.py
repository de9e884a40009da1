"""A series of requests that a thread answers, so that a worker never waits for whoever asks."""

import pickle
import socket
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cloudpickle
import torch

from mva.engines.base import Decoding, EngineFailure, Request, Response

Answer = Callable[[Iterable[Request], Decoding], Iterator[list[Response]]]

_PATIENCE = 0.05  # seconds that an engine waits for a further request before it finishes what it has


@dataclass(frozen=True)
class Exchange:
    """Responses that are finished; `error` is what ended the worker's run, with its traceback as a note."""

    responses: Sequence[Response] = ()
    error: Exception | None = None


class Run:
    """One series of requests: a thread answers them, `exchange` passes requests in and responses out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._finished: list[Response] = []
        self._owed = 0
        self._error: Exception | None = None
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self, prepare: Callable[[], Answer], decoding: Decoding, threads: int) -> None:
        """Answer in a thread from now on, with what `prepare` returns there."""
        self._thread = threading.Thread(target=self._answer, args=(prepare, decoding, threads), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Drop what is waiting, and wait until the thread has ended."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def exchange(self, requests: Sequence[Request]) -> Exchange:
        """Take requests, and return the responses that are finished: at least one as long as any is owed."""
        with self._changed:
            self._waiting.extend(requests)
            self._owed += len(requests)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._finished or self._error or not self._owed)
            finished, self._finished = self._finished, []
            self._owed -= len(finished)
            return Exchange(finished, self._error)

    def _answer(self, prepare: Callable[[], Answer], decoding: Decoding, threads: int) -> None:
        torch.set_num_threads(threads)  # OpenMP keeps it by thread
        try:
            answer = prepare()
            while self._has_work():
                for responses in answer(self._requests(), decoding):
                    if self._ended:
                        return
                    self._hand_over(responses)
        except Exception as error:
            with self._changed:
                self._error = portable(error)
                self._changed.notify_all()

    def _has_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return not self._ended

    def _requests(self) -> Iterator[Request]:
        """Yield what is waiting; with nothing new for a moment the engine is to finish what it has."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended, timeout=_PATIENCE)
                if self._ended or not self._waiting:
                    return
                request = self._waiting.popleft()
            yield request

    def _hand_over(self, responses: list[Response]) -> None:
        with self._changed:
            self._finished += responses
            self._changed.notify_all()


def portable(error: Exception) -> Exception:
    """Return an error that can be pickled, with its traceback as a note."""
    try:
        copied = pickle.loads(cloudpickle.dumps(error))
    except Exception:  # its class takes other arguments than its message
        copied = EngineFailure(f"{type(error).__name__}: {error}")
    if not isinstance(copied, Exception):
        copied = EngineFailure(f"{type(error).__name__}: {error}")
    copied.add_note(f"In a worker on {socket.gethostname()}:\n{''.join(traceback.format_exception(error))}")
    return copied
