"""The seam between what is asked and what answers it.

An engine turns requests (coefficients, prompt, seed) into responses. Whoever asks knows neither how many requests are
answered at once nor in which order they finish. Every engine passes one contract suite,
`tests/contracts/test_engines.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mva.composition.base import Composition
from mva.data.preference import Dialogue
from mva.data.reasoning import Strip
from mva.models.backbone import Backbone, ModelSettings
from mva.models.store import Store
from mva.models.value_vector import ValueVector
from mva.policies.base import PolicySpec
from mva.rewards.base import Reward
from mva.rewards.scorer import Scored

NOT_FINITE = "the model's logits are not finite with these coefficients"


class EngineFailure(RuntimeError):
    """An engine that cannot go on; what it answered before is not lost."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How next tokens are chosen.

    Temperature 0 is greedy decoding. Otherwise a token is sampled from the smallest set of probability `top_p`.
    A response ends with the first of `stop_ids`, or after `max_new_tokens` tokens. `batch_size` bounds the responses
    that an engine inside this process generates at once.
    """

    max_new_tokens: int
    stop_ids: tuple[int, ...]
    temperature: float = 0.0
    top_p: float = 1.0
    batch_size: int = 64


@dataclass(frozen=True, slots=True)
class Request:
    """One response to generate.

    `id` is the caller's, and comes back with the response. `coefficients` are in the order of the responder's values;
    `prompt` are the ids of the rendered dialogue. `seed` names the random numbers of sampling: requests with equal
    seeds see equal numbers, so that candidates can be compared under common random numbers.
    """

    id: int
    coefficients: tuple[float, ...]
    prompt: tuple[int, ...]
    dialogue: Dialogue
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """What became of the request `id`.

    `tokens` are the generated ids, up to and with the stop token. `failure` says why there are none. `rewards` are
    there, by value, where the engine scores what it generates, with the `disagreement` of those that are ensembles.
    """

    id: int
    tokens: tuple[int, ...] = ()
    failure: str = ""
    rewards: Mapping[str, float] | None = None
    disagreement: Mapping[str, float] | None = None

    @property
    def scored(self) -> Scored | None:
        """What the engine has scored; None where it scores nothing."""
        return None if self.rewards is None else Scored(self.rewards, self.disagreement or {})


class Responder(Protocol):
    """Answers requests with combinations of some vectors.

    `noise` names the random numbers of sampling: responders of the same noise give the same samples. It is part of what
    a sampled response is kept under.
    """

    values: tuple[str, ...]
    noise: str

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """Yield a response for each request, as they finish.

        Requests are taken from the iterable as they are needed. Closing the iterator cancels what is under way.

        Raises:
            EngineFailure: If the engine cannot go on.
        """
        ...


@dataclass(frozen=True)
class Scoring:
    """How an engine on other machines scores what it generates.

    `make_rewards` builds the rewards by value beside the worker's backbone, and can be pickled; `strip` says how
    thoughts are left out of responses.
    """

    make_rewards: Callable[[Backbone], Mapping[str, Reward]]
    strip: Strip


class Engine(Protocol):
    """A running engine: it serves one base model and any vectors of it."""

    def responder(self, vectors: Sequence[ValueVector], scoring: Scoring | None = None) -> Responder:
        """Answer with combinations of `vectors`; engines on other machines use `scoring` and score there."""
        ...

    def close(self) -> None:
        """Stop what the engine started: processes, servers, actors. Closing twice does no harm."""
        ...


@dataclass(frozen=True)
class EngineContext:
    """What an engine may be started with.

    `model` is what the backbone was loaded with, for workers that load it again; `folder` is the run's, for logs;
    `store` is where rewards and vectors lie.
    """

    backbone: Backbone
    model: ModelSettings
    policy: PolicySpec
    composition: Composition
    folder: Path
    store: Store


class EngineSpec(Protocol):
    """The configured form of an engine: plain settings, nothing started yet; `noise` is its responders'."""

    @property
    def noise(self) -> str:
        """Name the random numbers of sampling."""
        ...

    def check(self, policy: PolicySpec, composition: Composition) -> None:
        """Check, before anything is loaded, that the engine can speak with vectors so composed.

        Raises:
            BadSetting: If it can't, or something that it needs is missing on this machine.
        """
        ...

    def start(self, context: EngineContext) -> Engine:
        """Make the engine; servers and actors are started by the first request."""
        ...
