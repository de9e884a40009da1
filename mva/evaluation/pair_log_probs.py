"""How much more a policy prefers the chosen response to the rejected one: computed in packed batches."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mva.data.packing import PreferenceBatch
from mva.data.tokenization import TokenizedPair
from mva.models.backbone import Backbone
from mva.models.log_probs import make_batch, micro_batches, sequence_log_probs
from mva.policies.base import Policy

Speaking = Callable[[PreferenceBatch, list[int]], AbstractContextManager[PreTrainedModel]]


@torch.no_grad()
def log_prob_differences(
    policy: Policy, backbone: Backbone, pairs: Sequence[TokenizedPair], coefficients: Tensor
) -> Tensor:
    """Compute `log pi(chosen) - log pi(rejected)`, of each pair under its own coefficients.

    At most the backbone's token budget is computed at once. Where the policy answers one candidate at a time
    (`mixed_rows` is false), all rows of `coefficients` must be equal.

    Shape: `coefficients` `(n, n_vectors)` -> `(n,)`, float64 on the CPU, in nats.
    """
    backbone.model.eval()
    if policy.mixed_rows:
        return _differences(backbone, pairs, lambda batch, places: policy.rows(batch.by_token(coefficients[places])))
    with policy.rows(coefficients) as model:
        return _differences(backbone, pairs, lambda _batch, _places: nullcontext(model))


def _differences(backbone: Backbone, pairs: Sequence[TokenizedPair], speaking: Speaking) -> Tensor:
    able = backbone.capabilities
    differences = torch.empty(len(pairs), dtype=torch.float64)
    for places in micro_batches(pairs, tokens=backbone.token_budget, capabilities=able):
        batch = make_batch([pairs[k] for k in places], pad_id=backbone.pad_id, capabilities=able)
        with speaking(batch, places) as model:
            chosen, rejected = sequence_log_probs(model, batch.to(backbone.device), split_head=able.split_head)
        differences[places] = chosen.double().cpu() - rejected.double().cpu()
    return differences
