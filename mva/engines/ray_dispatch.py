"""How requests are dealt out to the workers of `engine=ray`, and what becomes of those that a dead worker held."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import ray
from ray.exceptions import RayError

from mva.engines.base import EngineFailure, Request, Response
from mva.engines.ray_run import Exchange
from mva.engines.ray_worker import Task
from mva.terminal import Console

_REPLACEMENTS = 3  # of a worker that dies; what kills it every time must not go on for ever
_AHEAD = 2  # batches that a worker holds: one under way, one waiting
_PIECES = 8  # of a batch: dealt out in turn, so that few requests are spread over all workers
_POLL = 1.0
_UNUSUAL_WAIT = 60.0


@dataclass
class Hand:
    """A worker as the driver sees it: what it holds, and the call that is under way."""

    actor: Any
    call: Any
    ready: bool = False
    held: dict[int, Request] = field(default_factory=dict)
    deaths: int = 0


class Hands:
    """All workers: each is asked for nothing before it is loaded, and is replaced when it dies."""

    def __init__(self, start_actor: Callable[[], Any], count: int, *, demand: str) -> None:
        self._start_actor = start_actor
        self._demand = demand
        self._since = time.monotonic()
        self._all = [self._started() for _ in range(count)]
        self._count = count

    def drop_calls(self) -> None:
        """Forget what was asked for by a series of requests that nobody waits for any more."""
        for hand in self._all:
            hand.held.clear()
            if hand.ready:
                hand.call = None

    def idle(self) -> list[Hand]:
        """List the workers that are loaded and wait for a call."""
        return [hand for hand in self._all if hand.ready and hand.call is None]

    def finished(self) -> Iterator[tuple[Hand, Exchange | RayError]]:
        """Wait a moment for calls, and yield those that have ended, with what came of them."""
        calls = {hand.call: hand for hand in self._all if hand.call is not None}
        done, _ = ray.wait(list(calls), num_returns=1, timeout=_POLL)
        for call in done:
            hand = calls[call]
            hand.call = None
            try:
                yield hand, ray.get(call)
            except RayError as error:
                yield hand, error
        if not done and not any(hand.ready for hand in self._all):
            self._tell_of_waiting()

    def replace(self, hand: Hand, reason: RayError) -> None:
        """Start another worker in place of one that died.

        Raises:
            EngineFailure: If no worker is left that could be.
        """
        ray.kill(hand.actor)
        self._all.remove(hand)
        if hand.deaths < _REPLACEMENTS:
            self._all.append(self._started(deaths=hand.deaths + 1))
        elif not self._all:
            raise EngineFailure(
                f"All {self._count} workers of engine=ray died, each {_REPLACEMENTS + 1} times (the last: "
                f"{_first_line(reason)}): see whether their memory is too small; what was answered is kept, and the "
                "same command goes on."
            )

    def close(self) -> None:
        """End all workers."""
        for hand in self._all:
            ray.kill(hand.actor)
        self._all.clear()

    def _started(self, deaths: int = 0) -> Hand:
        actor = self._start_actor()
        return Hand(actor, actor.load.remote(), deaths=deaths)

    def _tell_of_waiting(self) -> None:
        if time.monotonic() - self._since > _UNUSUAL_WAIT:
            self._since = float("inf")  # once
            line = (
                f"engine=ray waits for its workers: the cluster has to give each {self._demand}, and they have to load."
            )
            Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


class Dispatch:
    """One series of requests, dealt out over all workers."""

    def __init__(self, hands: Hands, task: Task, requests: Iterable[Request]) -> None:
        self._hands, self._task = hands, task
        self._requests = iter(requests)
        self._lost: deque[Request] = deque()  # a dead worker held them
        self._under_way = 0
        self._window = _AHEAD * task.decoding.batch_size
        self._piece = max(1, task.decoding.batch_size // _PIECES)

    def responses(self) -> Iterator[Response]:
        """Yield each request's response once, as they finish.

        Raises:
            EngineFailure: If all workers died.
            Exception: What a worker raised.
        """
        self._hands.drop_calls()
        first = next(self._requests, None)
        if first is None:
            return
        self._lost.append(first)
        while True:
            self._deal()
            if not self._lost and not self._under_way:
                return
            for hand, outcome in self._hands.finished():
                if isinstance(outcome, RayError):
                    self._bury(hand, outcome)
                else:
                    yield from self._taken(hand, outcome)

    def _deal(self) -> None:
        """Give requests to the idle workers, a piece to each in turn, until they hold their fill."""
        idle = self._hands.idle()
        dealt: list[list[Request]] = [[] for _ in idle]
        hungry = list(zip(idle, dealt, strict=True))
        while hungry:
            hungry = [(hand, requests) for hand, requests in hungry if self._serve(hand, requests)]
        for hand, requests in zip(idle, dealt, strict=True):
            if hand.held:
                hand.call = hand.actor.exchange.remote(self._task, requests)

    def _serve(self, hand: Hand, requests: list[Request]) -> bool:
        """Give one piece; says whether there was one."""
        piece = self._take(min(self._piece, self._window - len(hand.held)))
        hand.held.update({request.id: request for request in piece})
        self._under_way += len(piece)
        requests += piece
        return bool(piece)

    def _take(self, count: int) -> Sequence[Request]:
        lost = [self._lost.popleft() for _ in range(min(count, len(self._lost)))]
        return [*lost, *islice(self._requests, count - len(lost))]

    def _taken(self, hand: Hand, outcome: Exchange) -> Iterator[Response]:
        hand.ready = True
        for response in outcome.responses:
            del hand.held[response.id]
            self._under_way -= 1
            yield response
        if outcome.error is not None:
            raise outcome.error

    def _bury(self, hand: Hand, reason: RayError) -> None:
        self._lost.extend(hand.held.values())
        self._under_way -= len(hand.held)
        self._hands.replace(hand, reason)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
