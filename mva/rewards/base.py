"""What a reward is, and what it may be built from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from mva.data.preference import Dialogue, ValueData
from mva.models.backbone import Backbone
from mva.models.store import Store
from mva.policies.base import Policy
from mva.stages import Advance

Bar = Callable[[str, int], AbstractContextManager[Advance]]


@contextmanager
def silent(_description: str, _total: int) -> Iterator[Advance]:
    """Show no progress bar."""
    yield lambda _done: None


class Reward(Protocol):
    """Score responses for one value: higher is better, always."""

    @property
    def key(self) -> str:
        """Name everything that the scores depend on: equal keys give equal scores."""
        ...

    def score(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Score `responses[k]` as the answer to `prompts[k]`.

        A score depends on its own prompt and response alone, not on the others in the call.
        Shape: `(n,)`, floating point, on the CPU.
        """
        ...


@runtime_checkable
class EnsembleReward(Reward, Protocol):
    """A reward of several members, which may disagree."""

    def disagreement(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Return the standard deviation of each response's score over the members. Shape: `(n,)`, on the CPU."""
        ...


@dataclass(frozen=True)
class RewardContext:
    """What a reward may be built from.

    `data` are the pairs of `value`, of which a reward may learn from the training split only; `policy`
    combines the trained value vectors, whose content addresses are `vector_keys` by value (None before there are any);
    `bar(description, total)` opens a progress bar, as `Stages.bar` does.
    """

    value: str
    backbone: Backbone
    data: ValueData
    store: Store
    policy: Policy | None
    vector_keys: Mapping[str, str]
    bar: Bar = silent


class RewardSpec(Protocol):
    """A reward's configuration, from which the reward of one value is built."""

    def build(self, context: RewardContext) -> Reward:
        """Build the reward of `context.value`; here models are loaded and heads are fitted."""
        ...
