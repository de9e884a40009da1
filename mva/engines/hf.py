"""`engine=hf`: responses are generated in this process, by transformers.

Every response has its own slot in one cache (`models/slots.py`). One that ends leaves its slot to the next request, so
that no batch waits for its longest response. Prompts are read without padding. Architectures whose attention does not
take slots get whole batches of `model.generate` (`engines/whole_batches.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mva.composition.base import Composition
from mva.engines.base import Decoding, EngineContext, Request, Response, Scoring
from mva.engines.sampling import NOISE
from mva.engines.slot_decoder import Enter, SlotDecoder
from mva.engines.whole_batches import answer_in_batches
from mva.models.backbone import Backbone
from mva.models.value_vector import ValueVector
from mva.policies.base import Policy, PolicySpec


@dataclass(frozen=True)
class Hf:
    """`engine=hf`."""

    noise: ClassVar[str] = NOISE

    def check(self, policy: PolicySpec, composition: Composition) -> None:
        """Take every policy."""

    def start(self, context: EngineContext) -> "HfEngine":
        """Use the run's own backbone."""
        return HfEngine(context.backbone, context.policy, context.composition)


@dataclass(frozen=True)
class HfEngine:
    """Builds the policy of whatever vectors it is given."""

    backbone: Backbone
    policy: PolicySpec
    composition: Composition

    def responder(self, vectors: Sequence[ValueVector], scoring: Scoring | None = None) -> "HfResponder":
        """Load all vectors beside the model. Scoring is left to the caller."""
        return HfResponder(self.policy.build(self.backbone, vectors, self.composition), self.backbone)

    def close(self) -> None:
        """There is nothing to stop."""


class HfResponder:
    """Answers requests with a policy. While an iterator of `answer` waits, the model is the base."""

    def __init__(self, policy: Policy, backbone: Backbone) -> None:
        self.policy, self.backbone = policy, backbone
        self.values = policy.values
        self.noise = Hf.noise

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """Yield the responses as they finish (see `Responder.answer`)."""
        self.backbone.model.eval()
        if not self.backbone.capabilities.slots:
            yield from answer_in_batches(self.policy, self.backbone, requests, decoding)
        elif self.policy.mixed_rows:
            yield from self._answer(requests, self.policy.rows, decoding)
        else:
            for coefficients, group in groupby(requests, key=lambda request: request.coefficients):
                omega = torch.tensor([coefficients], dtype=torch.float64)
                with self.policy.rows(omega) as model:
                    responses = list(self._answer(group, partial(_entered, model), decoding))
                yield from responses

    def _answer(self, requests: Iterable[Request], enter: Enter, decoding: Decoding) -> Iterator[Response]:
        window = self.backbone.capabilities.window or float("inf")
        beyond: list[Request] = []  # of the shortest-sighted layer's window, which slots do not know

        def within() -> Iterator[Request]:
            for request in requests:
                fits = len(request.prompt) + decoding.max_new_tokens <= window
                if fits:
                    yield request
                else:
                    beyond.append(request)

        yield from SlotDecoder(self.policy, self.backbone, enter, decoding).answer(within())
        if beyond:
            yield from answer_in_batches(self.policy, self.backbone, beyond, decoding)


def _entered(model: PreTrainedModel, _rows: Tensor) -> AbstractContextManager[PreTrainedModel]:
    """Speak with weights that are merged already."""
    return nullcontext(model)
