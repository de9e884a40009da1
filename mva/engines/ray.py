"""`engine=ray`: workers that Ray places over the GPUs and machines of a cluster generate and score.

The process that asks holds no more than the requests and responses under way. Each worker loads the model and runs
one engine, `engine.worker` (docs/clusters.md).
"""

import hashlib
import logging
import os
import signal
import socket
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import cloudpickle

from mva.checks import BadSetting, Bounds, Count, NotNegative, Text, check
from mva.composition.base import Composition
from mva.engines.base import Decoding, EngineContext, EngineFailure, EngineSpec, Request, Response, Scoring
from mva.engines.ray_worker import Recipe, Task, Worker
from mva.models.value_vector import ValueVector
from mva.policies.base import PolicySpec

_THERE = find_spec("ray") is not None
if _THERE:
    import ray
    from ray._private import ray_constants

    from mva.engines.ray_dispatch import Dispatch, Hands

_MEGABYTE = 2**20
_PATIENCE = 5.0  # seconds for a cluster to be there; Ray itself would end the process after a minute


@dataclass(frozen=True)
class Ray:
    """`engine=ray`.

    `address` is a cluster's, `local` (this machine alone), or `auto`: the cluster that RAY_ADDRESS names, else `local`.
    Each of the `workers` takes `cpus` and `gpus` of the cluster and computes with `threads`. `auto` workers are one for
    each of the cluster's GPUs, or without any one for every `cpus` cores; `auto` gpus are 1 where the cluster has any.
    `object_store_memory` (MB) bounds what a machine of a local cluster keeps of the vectors in shared memory.
    """

    worker: EngineSpec
    address: Text = "auto"
    workers: Count | Literal["auto"] = "auto"
    cpus: Count = 4
    gpus: NotNegative | Literal["auto"] = "auto"
    threads: Count | None = None
    object_store_memory: Annotated[int, Bounds(80)] = 1000

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    @property
    def noise(self) -> str:
        """Name the noise of the workers' engine."""
        return self.worker.noise

    def check(self, policy: PolicySpec, composition: Composition) -> None:
        """Check that Ray is there, and that the workers' engine can speak with vectors so composed.

        Raises:
            BadSetting: If not.
        """
        if not _THERE:
            raise BadSetting("engine", 'is ray, which needs the package ray: pip install "mva[ray]".')
        if isinstance(self.worker, Ray):
            raise BadSetting("engine.worker", "is ray itself: choose hf or vllm.")
        self.worker.check(policy, composition)

    def start(self, context: EngineContext) -> "RayEngine":
        """Make the engine; Ray is started or joined by the first request."""
        return RayEngine(self, context)


class RayEngine:
    """Workers of a cluster, started by the first request."""

    def __init__(self, spec: Ray, context: EngineContext) -> None:
        self._spec, self._context = spec, context
        self.noise = spec.noise
        self._hands: Hands | None = None
        self._started_ray = False
        self._shipped: dict[str, Any] = {}
        self._marker = (context.store.root / "locks" / f"ray-{uuid.uuid4().hex}").absolute()

    def responder(self, vectors: Sequence[ValueVector], scoring: Scoring | None = None) -> "RayResponder":
        """Answer with combinations of `vectors`; the workers score with `scoring`."""
        return RayResponder(self, vectors, scoring)

    def close(self) -> None:
        """End the workers, and Ray itself where it was started here."""
        if self._hands is not None:
            self._hands.close()
            self._hands = None
        self._shipped.clear()
        if self._started_ray:
            ray.shutdown()
            self._started_ray = False
        self._marker.unlink(missing_ok=True)

    def hands(self) -> "Hands":
        """Return the workers; they are started when they are first asked for."""
        if self._hands is None:
            self._marker.parent.mkdir(parents=True, exist_ok=True)
            self._marker.touch()
            if not ray.is_initialized():
                self._started_ray = True
                self._join_or_start()
            self._hands = self._start_workers()
        return self._hands

    def shipped(self, cargo: bytes) -> tuple[str, Any]:
        """Put a set of vectors where all workers can fetch it, once; returns its hash and reference."""
        digest = hashlib.sha256(cargo).hexdigest()
        if digest not in self._shipped:
            self._shipped[digest] = ray.put(cargo)
        return digest, self._shipped[digest]

    @property
    def _address(self) -> str:
        return os.environ.get("RAY_ADDRESS", "local") if self._spec.address == "auto" else self._spec.address

    def _join_or_start(self) -> None:
        spec = self._spec
        joined = self._address
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if joined == "local":
            wanted = spec.cpus * (spec.workers if isinstance(spec.workers, int) else 1)
            settings |= {
                "num_cpus": max(wanted, len(os.sched_getaffinity(0))),
                "object_store_memory": spec.object_store_memory * _MEGABYTE,
                "include_dashboard": False,
            }
            _stay_on_loopback()
        else:
            _check_reachable(joined)
        logging.getLogger("ray").setLevel(logging.ERROR)
        try:
            with _own_signal_handlers():
                ray.init(address=joined, **settings)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unreachable(joined, error) from error

    def _start_workers(self) -> "Hands":
        spec = self._spec
        count, gpus = self._placement(ray.cluster_resources())
        recipe = Recipe(
            engine=spec.worker,
            model=replace(self._context.model, device="cuda" if gpus else "cpu"),
            policy=self._context.policy,
            composition=self._context.composition,
            folder=self._context.folder.absolute(),
            base=self._context.backbone.fingerprint,
            store=self._context.store,
            marker=self._marker,
            home=Path.cwd(),
            threads=spec.threads or spec.cpus,
        )
        actor = ray.remote(Worker).options(num_cpus=spec.cpus, num_gpus=gpus, max_restarts=0)
        return Hands(partial(actor.remote, recipe), count, demand=f"{spec.cpus} CPUs and {gpus:g} GPUs")

    def _placement(self, resources: Mapping[str, float]) -> tuple[int, float]:
        """Say how many workers there are to be, and how many GPUs each takes, in a cluster of these resources.

        Raises:
            EngineFailure: If this machine alone can hold no worker; another cluster may still grow.
        """
        spec, there = self._spec, resources.get("GPU", 0.0)
        wanted = 1.0 if there and self._context.model.device != "cpu" else 0.0
        gpus = wanted if spec.gpus == "auto" else float(spec.gpus)
        if self._started_ray and self._address == "local" and gpus > there:
            raise EngineFailure(f"engine.gpus is {gpus:g}, but this machine has {there:g} GPUs: choose auto or 0.")
        if spec.workers != "auto":
            return spec.workers, gpus
        return max(1, int(there / gpus if gpus else resources.get("CPU", 0.0) / spec.cpus)), gpus


class RayResponder:
    """Answers requests on the workers, with one set of vectors."""

    def __init__(self, engine: RayEngine, vectors: Sequence[ValueVector], scoring: Scoring | None) -> None:
        self.values = tuple(vector.value for vector in vectors)
        self.noise = engine.noise
        self._engine = engine
        self._cargo = (list(vectors), scoring)

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """Yield the responses as they finish (see `Responder.answer`).

        Raises:
            EngineFailure: If Ray can't be reached, a worker can't be loaded, or all of them died.
        """
        hands = self._engine.hands()
        digest, reference = self._engine.shipped(self._pickled)
        task = Task(uuid.uuid4().hex, digest, partial(ray.get, reference), decoding)
        yield from Dispatch(hands, task, requests).responses()

    @cached_property
    def _pickled(self) -> bytes:
        return bytes(cloudpickle.dumps(self._cargo))


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Put back the handlers of SIGINT and SIGTERM, which Ray replaces. Only the main thread may have any set."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _check_reachable(address: str) -> None:
    """Try the port of a cluster; `auto` and addresses without one are left to Ray."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if separator and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
        except OSError as error:
            raise _unreachable(address, error) from None


def _unreachable(address: str, error: Exception) -> EngineFailure:
    reason = str(error).strip().partition("\n")[0]
    return EngineFailure(
        f"Ray can't be reached at {address} ({reason}): choose engine.address=local, or the address of a running "
        "cluster."
    )


def _stay_on_loopback() -> None:
    """Let a local cluster bind to 127.0.0.1 alone; asked to, Ray would take the machine's own address instead."""
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # for the processes that Ray starts
    ray_constants.ENABLE_RAY_CLUSTER = False
