"""Mixing policies while decoding (MOD: multi-objective decoding, arXiv 2406.18853, for the reverse KL divergence).

    log pi(token | x) = (1 - sum_i w_i) log pi_base(token | x) + sum_i w_i log pi_i(token | x) + const

On the simplex the base drops out. Every policy that counts is a row of the batch with its own KV cache; all rows of one
response are given the same token.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel

from mva.composition.base import Composition
from mva.composition.log_probs import LogProbs
from mva.models.backbone import Backbone
from mva.models.coefficient_lora import CoefficientLora
from mva.models.value_vector import ValueVector
from mva.policies.base import Member


class Mixture:
    """A response's policies as rows of one batch."""

    mixed_rows = True

    def __init__(self, lora: CoefficientLora) -> None:
        self._lora = lora
        self.values = lora.values

    def rows(self, coefficients: Tensor) -> AbstractContextManager[PreTrainedModel]:
        """Gate every row with its own coefficients: those of the members. Shape: `(rows, n_values)`."""
        return self._lora.rows(coefficients)

    def members(self, coefficients: tuple[float, ...]) -> list[Member]:
        """List each vector alone with its weight, and the base with what they leave of 1; weights of 0 are left out."""
        n = len(self.values)
        alone = [tuple(float(i == j) for j in range(n)) for i in range(n)]
        rest = round(1.0 - sum(coefficients), 9)
        members = [Member(w, one) for w, one in zip([*coefficients, rest], [*alone, (0.0,) * n], strict=True)]
        return [member for member in members if member.weight != 0]


@dataclass(frozen=True)
class MixturePolicy:
    """`policy=mixture`."""

    def check(self, composition: Composition) -> None:
        """Refuse any composition but `log_probs`: its candidates would bear another one's name.

        Raises:
            ValueError: For another composition.
        """
        if composition.name != LogProbs.name:
            raise ValueError(
                f"policy=mixture composes no vectors ('{composition.name}'): choose composition=log_probs, or "
                "policy=merged."
            )

    def build(self, backbone: Backbone, vectors: Sequence[ValueVector], composition: Composition) -> Mixture:
        """Load all vectors side by side (see `check`)."""
        self.check(composition)
        return Mixture(CoefficientLora(backbone, vectors))


class MixedLogProbs(LogitsProcessor):
    """Replace the scores of each response's rows by their mixture; `rows` are (number of the response, member)."""

    def __init__(self, rows: Sequence[tuple[int, Member]]) -> None:
        self._owner = torch.tensor([response for response, _ in rows])
        self._weights = torch.tensor([member.weight for _, member in rows])

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Mix. Shape: `scores` and the result are `(rows, vocabulary)`; equal rows within one response."""
        weighted = self._weights.to(scores)[:, None] * scores.log_softmax(-1)
        owner = self._owner.to(scores.device)
        mixed = torch.zeros_like(scores[: int(owner.max()) + 1]).index_add(0, owner, weighted)
        return mixed[owner]
