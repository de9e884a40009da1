"""A server as the pool sees it: whether it answers, what it has loaded, and what it is busy with."""

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Protocol, TypeVar

from mva.engines.base import EngineFailure
from mva.engines.vllm_adapters import Adapter
from mva.engines.vllm_client import Client, NoAnswer, Refused
from mva.engines.vllm_probe import Expected, Probe
from mva.engines.vllm_process import ServerProcess, version_problem

ATTEMPTS = 5  # of one request, and of one server without an answer in between
RESTARTS = 3  # of one server, without a candidate in between that explains them
_POLL = 0.5  # seconds between two looks at a server that starts
_BACK_OFF = 0.25  # seconds, doubled with every failure


class State(Enum):
    """STARTING and ILL servers are asked nothing, for now; DEAD ones never again."""

    STARTING = auto()
    READY = auto()
    ILL = auto()
    DEAD = auto()


class Gone(OSError):
    """A server that answers no more; `str()` of it says why."""


@dataclass(eq=False)
class Loaded:
    """An adapter on a server: `ready` is done when it is loaded, `n_under_way` requests need it."""

    adapter: Adapter
    ready: Future[None]
    n_under_way: int = 0


class _Wanting(Protocol):
    adapter: Adapter


_Wants = TypeVar("_Wants", bound=_Wanting)


class PooledServer:
    """One server. `window` adapters are loaded at once, `in_flight` requests are under way."""

    def __init__(self, client: Client, process: ServerProcess | None, *, window: int, in_flight: int) -> None:
        self.client, self.process = client, process
        self.state, self.why = State.STARTING, ""
        self.loaded: dict[str, Loaded] = {}
        self.n_under_way, self.failures, self.restarts, self.probed = 0, 0, 0, False
        self._window, self._in_flight = window, in_flight

    @property
    def has_room(self) -> bool:
        """Whether it takes one more request."""
        return self.state is State.READY and self.n_under_way < self._in_flight

    def choose(self, waiting: Iterable[_Wants]) -> _Wants | None:
        """Choose what to answer next: what needs no new adapter, or else the first, if there is room for its own."""
        first = None
        for job in waiting:
            if job.adapter.name in self.loaded:
                return job
            first = first or job
        return first if len(self.loaded) < self._window or self._idle() else None

    def make_room(self) -> Loaded | None:
        """Take out the adapter that was not used for longest, if the window is full."""
        if len(self.loaded) < self._window:
            return None
        idle = self._idle()
        assert idle is not None
        return self.loaded.pop(idle.adapter.name)

    def _idle(self) -> Loaded | None:
        return next((loaded for loaded in self.loaded.values() if not loaded.n_under_way), None)

    def load(self, adapter: Adapter, outgoing: Loaded | None, probe: Probe, expected: Expected | None) -> None:
        """Load an adapter, after the one that goes out for it, and look whether the server applies it.

        Raises:
            EngineFailure: If it can't or doesn't.
            NotFinite, NoAnswer: As `Probe.check` does.
        """
        if outgoing is not None and outgoing.ready.exception() is None:
            outgoing.adapter.files.release(outgoing.adapter)
            with suppress(Refused):  # it has lost it
                self.client.unload(outgoing.adapter.name)
        folder = adapter.files.acquire(adapter)
        try:
            self.client.load(adapter.name, str(folder))
            if expected is not None and not self.probed:
                probe.check(self.client, adapter, expected)
                self.probed = True
        except Refused as refused:
            adapter.files.release(adapter)
            raise EngineFailure(
                f"{self.client.url} refuses a candidate's adapter of rank {adapter.files.rank}: {refused.reason}. A "
                f"server of your own needs --enable-lora, --max-lora-rank {adapter.files.rank} and sight of {folder}."
            ) from refused
        except BaseException:
            adapter.files.release(adapter)
            raise

    def forget(self) -> None:
        """Drop all adapters: a server that was ill may have lost them."""
        for loaded in self.loaded.values():
            loaded.ready.add_done_callback(partial(_release, loaded.adapter))
        self.loaded.clear()

    def restart(self, closing: threading.Event, patience: float) -> None:
        """Start our server again, and wait until it is ready (see `prepare`).

        Raises:
            Gone: Also if it was started again too often.
        """
        assert self.process is not None
        if self.restarts >= RESTARTS:
            raise Gone(f"{self.why}, also after {RESTARTS} restarts{self._log}")
        self.restarts += 1
        self.process.restart()
        if closing.is_set():  # the pool may have stopped the process before this one
            self.process.stop()
        self.prepare(closing, patience)

    def prepare(self, closing: threading.Event, patience: float) -> None:
        """Wait until the server is ready, at the start or after a failure.

        Raises:
            Gone: If its process ended, or it is not ready within `patience` seconds.
            EngineFailure: If it can't be used as it is.
        """
        if self.failures >= ATTEMPTS:
            raise Gone(f"it gave no answer {self.failures} times in a row: {self.why}")
        closing.wait(_BACK_OFF * 2**self.failures if self.failures else 0)
        left = patience
        while not closing.is_set():
            if self.process is not None and (ended := self.process.end()):
                raise Gone(ended)
            try:
                self._check(self.client.version())
            except NoAnswer as problem:
                if left <= 0:
                    raise Gone(f"{problem}{self._log}") from problem
            else:
                return
            closing.wait(_POLL)
            left -= _POLL

    def _check(self, version: str) -> None:
        if problem := version_problem(version):
            raise EngineFailure(f"{self.client.url} has {problem}.")
        if not self.client.takes_adapters():
            raise EngineFailure(
                f"{self.client.url} takes no adapters: start it with --enable-lora and, in its environment, "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1."
            )

    @property
    def _log(self) -> str:
        return f" (see {self.process.log})" if self.process is not None else ""


def _release(adapter: Adapter, ready: Future[None]) -> None:
    if not ready.cancelled() and ready.exception() is None:
        adapter.files.release(adapter)
