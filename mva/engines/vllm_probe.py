"""Whether a server says what this process's own backbone says: to ignore adapters is no error of a server's."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mva.engines.base import EngineFailure
from mva.engines.sampling import finite
from mva.engines.vllm_adapters import Adapter
from mva.engines.vllm_client import Client
from mva.models.backbone import Backbone
from mva.models.coefficient_lora import CoefficientLora

_TOKENS = 128  # of a prompt, that are read
_LIKELIEST = 20  # next tokens, that are compared
_WRONG_SHARE = 0.5  # of what the candidate changes: rounding is a smaller part of it


class Expected(NamedTuple):
    """The log-probs of what may follow a prompt, in this process. Shape: `(vocabulary,)` each."""

    prompt: tuple[int, ...]
    base: Tensor
    candidate: Tensor


class Probe:
    """Holds a server's log-probs of next tokens against those of the backbone in this process."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        # What a candidate must change at least for the comparison to say anything: more than rounding does.
        self._least = 0.02 if backbone.model.dtype in (torch.float32, torch.float64) else 0.5
        self._not_finite: set[str] = set()

    def knows_as_not_finite(self, adapter: Adapter) -> bool:
        """Say whether `confirms_not_finite` has said so of the candidate."""
        return adapter.name in self._not_finite

    @torch.no_grad()
    def confirms_not_finite(self, adapter: Adapter, prompt: Sequence[int], tokens: Sequence[int]) -> bool:
        """Say whether the candidate's logits after the prompt, or one of the tokens, are not finite here either."""
        ids = torch.tensor([[*prompt, *tokens]], device=self._backbone.device)
        row = torch.tensor([adapter.coefficients], dtype=torch.float64)
        with CoefficientLora(self._backbone, adapter.files.vectors).rows(row) as model:
            logits = model(ids, use_cache=False, logits_to_keep=len(tokens) + 1).logits
        confirmed = not finite(logits[0]).all()
        if confirmed:
            self._not_finite.add(adapter.name)
        return confirmed

    @torch.no_grad()
    def expect(self, adapter: Adapter, prompt: Sequence[int]) -> Expected | None:
        """Compute what a server must answer; None if the candidate changes too little to tell."""
        ids = tuple(prompt[:_TOKENS])
        rows = torch.tensor([[0.0] * len(adapter.coefficients), adapter.coefficients], dtype=torch.float64)
        tokens = torch.tensor([ids, ids], device=self._backbone.device)
        with CoefficientLora(self._backbone, adapter.files.vectors).rows(rows) as model:
            logits = model(tokens, use_cache=False, logits_to_keep=1).logits[:, -1]
        base, candidate = logits.double().log_softmax(-1).cpu()
        change = (candidate - base)[base.topk(_LIKELIEST).indices].abs().max()
        return Expected(ids, base, candidate) if torch.isfinite(candidate).all() and change >= self._least else None

    def check(self, client: Client, adapter: Adapter, expected: Expected) -> None:
        """Ask a server for the same log-probs.

        Raises:
            EngineFailure: If it serves another base, or answers as if the adapter were not there or another.
            NotFinite: If it says that they are not finite.
            NoAnswer: If it does not answer.
        """
        answered = client.next_log_probs(expected.prompt, adapter.name)
        error = _differences(answered, expected.candidate).max()
        change = (expected.candidate - expected.base)[list(answered)].abs().max()
        if error < _WRONG_SHARE * change:
            return
        as_base = _differences(answered, expected.base).max() < _WRONG_SHARE * change
        fault = "ignores the adapter" if as_base else f"serves another base than {self._backbone.name}, or adds to it"
        raise EngineFailure(
            f"{client.url} {fault}: with the coefficients {adapter.coefficients} it misses log-probs by {error:.3g}, "
            f"where the candidate changes them by {change:.3g}. Start it with the run's base, use another version of "
            f"vLLM, or engine=hf."
        )


def _differences(answered: Mapping[int, float], expected: Tensor) -> Tensor:
    return (torch.tensor(list(answered.values()), dtype=torch.float64) - expected[list(answered)]).abs()
