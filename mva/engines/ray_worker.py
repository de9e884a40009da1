"""What runs in a worker of `engine=ray`: a backbone, an engine on it, and the rewards beside it.

Nothing here knows of Ray.
"""

import os
import pickle
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mva.composition.base import Composition
from mva.data.preference import Dialogue
from mva.engines.base import (
    Decoding,
    Engine,
    EngineContext,
    EngineFailure,
    EngineSpec,
    Request,
    Responder,
    Response,
    Scoring,
)
from mva.engines.ray_run import Exchange, Run, portable
from mva.engines.text import response_text
from mva.models.backbone import Backbone, ModelSettings
from mva.models.store import Store
from mva.models.value_vector import ValueVector
from mva.policies.base import PolicySpec
from mva.rewards.scorer import Scorer

_SCORED_TOGETHER = 32
_LOADED = 2  # sets of vectors that a worker keeps


@dataclass(frozen=True)
class Recipe:
    """How a worker makes its engine.

    `base` is the fingerprint that its backbone must have. `marker` is a file in the store that every worker must see;
    relative paths start at `home`.
    """

    engine: EngineSpec
    model: ModelSettings
    policy: PolicySpec
    composition: Composition
    folder: Path
    base: str
    store: Store
    marker: Path
    home: Path
    threads: int


@dataclass(frozen=True)
class Task:
    """What requests are answered with: `run` names one series of requests.

    `fetch` gives the pickled vectors and `Scoring | None`, whose hash is `digest`.
    """

    run: str
    digest: str
    fetch: Callable[[], bytes]
    decoding: Decoding


class Worker:
    """Answers one run at a time."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._backbone: Backbone | None = None
        self._engine: Engine | None = None
        self._speakers: OrderedDict[str, _Speaker] = OrderedDict()
        self._run: Run | None = None

    def load(self) -> Exchange:
        """Load the backbone and start the engine; an error is returned."""
        try:
            if self._recipe.home.is_dir():
                os.chdir(self._recipe.home)
            self._check_store()
            self._backbone = self._loaded()
            recipe = self._recipe
            context = EngineContext(
                self._backbone, recipe.model, recipe.policy, recipe.composition, recipe.folder, recipe.store
            )
            self._engine = recipe.engine.start(context)
        except Exception as error:
            return Exchange(error=portable(error))
        return Exchange()

    def exchange(self, task: Task, requests: Sequence[Request]) -> Exchange:
        """Take requests, and return the responses that are finished: at least one as long as any is owed.

        A new run ends the one before; what that still owed is dropped.
        """
        if self._run is None or self._run.name != task.run:
            if self._run is not None:
                self._run.end()
            self._run = Run(task.run)
            threads = min(self._recipe.threads, len(os.sched_getaffinity(0)))
            self._run.start(lambda: self._speaker(task).answer, task.decoding, threads)
        return self._run.exchange(requests)

    def _check_store(self) -> None:
        if not self._recipe.marker.exists():
            raise EngineFailure(
                f"The worker on {socket.gethostname()} does not see the cache {self._recipe.store.root} of this run: "
                "let paths.cache be a folder that all machines of the cluster share."
            )

    def _loaded(self) -> Backbone:
        backbone = self._recipe.model.load(self._recipe.store)
        if backbone.fingerprint != self._recipe.base:
            raise EngineFailure(
                f"The worker on {socket.gethostname()} loads other weights as {backbone.name} than this run: give all "
                "machines of the cluster the same model files."
            )
        return backbone

    def _speaker(self, task: Task) -> "_Speaker":
        if task.digest not in self._speakers:
            if self._engine is None or self._backbone is None:
                raise EngineFailure("The worker was asked before it was loaded.")
            while len(self._speakers) >= _LOADED:
                self._speakers.popitem(last=False)
            vectors, scoring = pickle.loads(task.fetch())
            self._speakers[task.digest] = _Speaker(self._backbone, self._engine, vectors, scoring)
        self._speakers.move_to_end(task.digest)
        return self._speakers[task.digest]


class _Speaker:
    """Answers and scores with one set of vectors."""

    def __init__(
        self, backbone: Backbone, engine: Engine, vectors: Sequence[ValueVector], scoring: Scoring | None
    ) -> None:
        self._backbone, self._scoring = backbone, scoring
        self._responder: Responder = engine.responder(vectors)
        self._scorer = None if scoring is None else Scorer(scoring.make_rewards(backbone))

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[list[Response]]:
        """Yield the responses as they finish, a few at a time, which are scored together."""
        dialogues: dict[int, Dialogue] = {}

        def noted() -> Iterator[Request]:
            for request in requests:
                dialogues[request.id] = request.dialogue
                yield request

        finished: list[Response] = []
        for response in self._responder.answer(noted(), decoding):
            finished.append(response)
            if len(finished) == min(_SCORED_TOGETHER, decoding.batch_size):
                yield self._scored(finished, dialogues)
                finished = []
        if finished:
            yield self._scored(finished, dialogues)

    def _scored(self, responses: list[Response], dialogues: dict[int, Dialogue]) -> list[Response]:
        asked = [dialogues.pop(response.id) for response in responses]
        if self._scoring is None or self._scorer is None:
            return responses
        texts = {
            response.id: (dialogue, response_text(response.tokens, self._backbone, self._scoring.strip))
            for response, dialogue in zip(responses, asked, strict=True)
            if not response.failure
        }
        scored = dict(zip(texts, self._scorer(list(texts.values())), strict=True))
        return [
            replace(response, **scored[response.id]._asdict()) if response.id in scored else response
            for response in responses
        ]
