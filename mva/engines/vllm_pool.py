"""Routing: which server answers which request, with which adapters at hand.

All decisions are made in the thread that asks for responses. Other threads do nothing but wait for a server's answer
and hand it over through one queue.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any

from mva.engines.base import NOT_FINITE, Decoding, EngineFailure, Request, Response
from mva.engines.vllm_adapters import Adapter, NotFiniteFactors
from mva.engines.vllm_client import NoAnswer, NotFinite
from mva.engines.vllm_probe import Probe
from mva.engines.vllm_server import ATTEMPTS, Gone, Loaded, PooledServer, State
from mva.terminal import Console

_AHEAD = 4  # requests that are looked through for adapters at hand, as a multiple of those under way


@dataclass(eq=False)
class _Job:
    """A request: its place in the order of asking, and how often it got no answer."""

    order: int
    request: Request
    adapter: Adapter
    attempts: int = 0


@dataclass(eq=False)
class _Pass:
    """One call of `answer`: what waits for a server, how much is under way, and what is finished."""

    source: Iterator[tuple[Request, Adapter]]
    decoding: Decoding
    n_taken: int = 0
    exhausted: bool = False
    closed: bool = False
    waiting: deque[_Job] = field(default_factory=deque)
    n_under_way: int = 0
    finished: deque[Response] = field(default_factory=deque)

    def refill(self, ahead: int) -> None:
        """Take requests until `ahead` wait; none waits while more than twice as many that came later are taken."""
        while not self.exhausted and len(self.waiting) < ahead:
            if self.waiting and self.n_taken - self.waiting[0].order > 2 * ahead:
                return
            taken = next(self.source, None)
            if taken is None:
                self.exhausted = True
                return
            self.waiting.append(_Job(self.n_taken, *taken))
            self.n_taken += 1

    def add_again(self, job: _Job) -> None:
        """Let a job wait again, before all that were asked for later."""
        n_earlier = sum(other.order < job.order for other in self.waiting)
        self.waiting.insert(n_earlier, job)


class Pool:
    """Servers of one base. `in_flight` requests are under way on each of them; `patience` are seconds to start in."""

    def __init__(self, servers: Sequence[PooledServer], probe: Probe, *, in_flight: int, patience: float) -> None:
        self._servers, self._probe, self._patience = servers, probe, patience
        self._ahead = _AHEAD * in_flight * len(servers)
        self._events = SimpleQueue[tuple[Callable[[Future[Any]], None], Future[Any]]]()
        self._closing = threading.Event()
        # One thread a request, one a server that is looked after, and one an adapter that is loaded.
        self._threads = ThreadPoolExecutor((2 * in_flight + 1) * len(servers), thread_name_prefix="vllm")
        for server in servers:
            self._prepare(server)

    def answer(self, source: Iterator[tuple[Request, Adapter]], decoding: Decoding) -> Iterator[Response]:
        """Yield the responses as they finish; closing it leaves what is under way to be answered to nobody.

        Raises:
            EngineFailure: If no server is left, or a server can't be used.
        """
        asked = _Pass(source, decoding)
        try:
            while True:
                while asked.finished:
                    yield asked.finished.popleft()
                asked.refill(self._ahead)
                self._dispatch(asked)
                if asked.finished:
                    continue
                if asked.exhausted and not asked.waiting and not asked.n_under_way:
                    return
                self._take_events(asked)
        finally:
            asked.closed = True

    def close(self) -> None:
        """End our servers, and wait for those requests that others' servers still answer."""
        self._closing.set()
        for server in self._servers:
            if server.process is not None:
                server.process.stop()
        self._threads.shutdown(cancel_futures=True)
        for server in self._servers:
            server.forget()
            server.client.close()

    def _dispatch(self, asked: _Pass) -> None:
        unfit: set[PooledServer] = set()
        while asked.waiting:
            self._check_servers()
            free = [server for server in self._servers if server.has_room and server not in unfit]
            if not free:
                return
            server = min(free, key=lambda server: server.n_under_way)
            job = server.choose(asked.waiting)
            if job is None:
                unfit.add(server)
                continue
            asked.waiting.remove(job)
            if self._probe.knows_as_not_finite(job.adapter):
                asked.finished.append(Response(job.request.id, failure=NOT_FINITE))
            else:
                self._send(asked, server, job)

    def _check_servers(self) -> None:
        if all(server.state is State.DEAD for server in self._servers):
            whys = "; ".join(f"{server.client.url}: {server.why}" for server in self._servers)
            raise EngineFailure(f"No vLLM server is left ({whys}). Start the command again to go on.")

    def _send(self, asked: _Pass, server: PooledServer, job: _Job) -> None:
        loaded = self._loaded(server, job.adapter, job.request)
        server.n_under_way += 1
        asked.n_under_way += 1
        loaded.n_under_way += 1
        answered = partial(self._answered, asked, server, job, loaded)
        self._submit(answered, _answer, server, job, loaded, asked.decoding)

    def _loaded(self, server: PooledServer, adapter: Adapter, request: Request) -> Loaded:
        """Find the adapter on the server, or begin to load it in the place of another."""
        loaded = server.loaded.pop(adapter.name, None)
        if loaded is None:
            outgoing = server.make_room()
            expected = None if server.probed else self._probe.expect(adapter, request.prompt)
            loading = self._submit(lambda _loaded: None, server.load, adapter, outgoing, self._probe, expected)
            loaded = Loaded(adapter, loading)
        server.loaded[adapter.name] = loaded  # the last is the one that was used last
        return loaded

    def _answered(
        self, asked: _Pass, server: PooledServer, job: _Job, loaded: Loaded, answer: Future[Response]
    ) -> None:
        server.n_under_way -= 1
        asked.n_under_way -= 1
        loaded.n_under_way -= 1
        if loaded.ready.exception() is not None and server.loaded.get(loaded.adapter.name) is loaded:
            del server.loaded[loaded.adapter.name]
        problem = answer.exception()
        if problem is None:
            server.failures = 0
            asked.finished.append(answer.result())
        elif isinstance(problem, NotFiniteFactors):
            asked.finished.append(Response(job.request.id, failure=NOT_FINITE))
        elif isinstance(problem, NotFinite):
            self._confirm(asked, server, job, problem)
        elif isinstance(problem, NoAnswer):
            self._doubt(server, str(problem))
            if not asked.closed:
                self._again(asked, job, problem, counts=server.state is not State.STARTING)
        elif not asked.closed:
            raise EngineFailure(f"{problem}") from problem

    def _confirm(self, asked: _Pass, server: PooledServer, job: _Job, claim: NotFinite) -> None:
        """Fail the candidate if its logits are not finite here either; if they are, the server's cache is to blame.

        vLLM 0.32 on a CPU leaves NaN in its cache, where later requests of other candidates meet it.
        """
        if self._probe.confirms_not_finite(job.adapter, job.request.prompt, claim.tokens):
            server.restarts = 0
            asked.finished.append(Response(job.request.id, failure=NOT_FINITE))
            return
        if server.state is State.READY:
            self._restart(server, f"{claim} with the coefficients {job.adapter.coefficients}, and here they are finite")
        if not asked.closed:
            asked.add_again(job)

    def _restart(self, server: PooledServer, why: str) -> None:
        if server.process is None:
            raise EngineFailure(
                f"{server.client.url} has NaN in its cache: {why}. Restart it, and start the command again to go on."
            )
        server.state, server.why = State.STARTING, why
        server.forget()
        self._submit(partial(self._prepared, server), server.restart, self._closing, self._patience)

    def _again(self, asked: _Pass, job: _Job, problem: NoAnswer, *, counts: bool) -> None:
        job.attempts += counts
        if job.attempts >= ATTEMPTS:
            raise EngineFailure(f"A request got no answer {ATTEMPTS} times, at last because {problem}.") from problem
        asked.add_again(job)

    def _doubt(self, server: PooledServer, why: str) -> None:
        """Ask a server nothing more until it is ready again."""
        if server.state is State.READY:
            server.state, server.why = State.ILL, why
            server.failures += 1
            self._prepare(server)

    def _prepare(self, server: PooledServer) -> None:
        self._submit(partial(self._prepared, server), server.prepare, self._closing, self._patience)

    def _prepared(self, server: PooledServer, ready: Future[None]) -> None:
        problem = ready.exception()
        if problem is None:
            server.forget()
            server.state = State.READY
        elif isinstance(problem, Gone):
            server.forget()
            server.state, server.why = State.DEAD, str(problem)
            if server.process is not None:
                self._submit(lambda _stopped: None, server.process.stop)
            line = f"The vLLM server {server.client.url} is given up: {problem}."
            Console(stderr=True).print(line, markup=False, highlight=False, style="red")
        else:
            raise problem

    def _submit(self, handle: Callable[[Future[Any]], None], work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Do `work` in another thread; `handle` is called with the outcome, in the thread that asks for responses."""
        future = self._threads.submit(work, *arguments)
        future.add_done_callback(lambda done: self._events.put((handle, done)))
        return future

    def _take_events(self, asked: _Pass) -> None:
        """Wait until something has happened, and handle all that has."""
        while True:
            handle, future = self._events.get()
            handle(future)
            if self._events.empty():
                return


def _answer(server: PooledServer, job: _Job, loaded: Loaded, decoding: Decoding) -> Response:
    loaded.ready.result()
    return server.client.complete(job.request, loaded.adapter.name, decoding)
