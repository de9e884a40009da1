"""The reference policy's log-probs: computed once per (base, tokenised data), stored, shared by every value and job."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mva.data.ids_json import ids_json
from mva.data.tokenization import TokenizedPair
from mva.fingerprint import canonical_json, pieces_fingerprint
from mva.models.backbone import Backbone
from mva.models.coefficient_lora import CoefficientLora
from mva.models.log_probs import make_batch, micro_batches, sequence_log_probs
from mva.models.long_pass import LongPass
from mva.models.merge import merged
from mva.models.quantization import is_quantized
from mva.models.store import Store, key_of
from mva.models.value_vector import ValueVector
from mva.stages import Advance

_FILE = "log_probs.safetensors"


def reference_log_probs(
    backbone: Backbone,
    pairs: Sequence[TokenizedPair],
    store: Store,
    *,
    vector: ValueVector | None = None,
    tokens: int | None = None,
    what: str = "the reference log-probs",
    advance: Advance = lambda _done: None,
) -> Tensor:
    """Log-probs of (chosen, rejected) under the base, or the base with `vector`; call it while no adapter is attached.

    At most `tokens` tokens are computed at once (None: the backbone's budget). `advance` is called with the number of
    pairs that were finished; `what` says whose log-probs these are. An interrupted pass over the pairs is continued.

    Shape: `(n, 2)`, float32 on the CPU, in nats.

    Raises:
        FloatingPointError: If a log-prob is not finite.
    """
    key = _key(backbone, pairs, vector)
    with store.making("reference", key, what=what):
        stored = store.get("reference", key)
        if stored is None:
            tokens = tokens or backbone.token_budget
            under_way = LongPass(store, key_of({"reference": key, "tokens": tokens}))
            with _with_vector(backbone, vector):
                log_probs = _compute(backbone, pairs, under_way, tokens=tokens, advance=advance)
            stored = store.put("reference", key, lambda folder: save_file({"log_probs": log_probs}, folder / _FILE))
            under_way.drop()
        else:
            advance(len(pairs))
    return load_file(stored / _FILE)["log_probs"]


def _key(backbone: Backbone, pairs: Sequence[TokenizedPair], vector: ValueVector | None) -> str:
    """The address of the log-probs: `key_of` of a specification in which the pairs' ids stand."""
    spec = {"base": backbone.fingerprint, "packed": backbone.capabilities.packed, "pairs": None}
    text = canonical_json(spec if vector is None else {**spec, "vector": vector.key})
    before, _, after = text.partition("null")
    return pieces_fingerprint(chain([before.encode()], ids_json(pairs), [after.encode()]))[:40]


def _with_vector(backbone: Backbone, vector: ValueVector | None) -> AbstractContextManager[object]:
    """Let the backbone speak with the vector; into quantised weights nothing can be merged."""
    if vector is None:
        return nullcontext()
    if is_quantized(backbone.model):
        return CoefficientLora(backbone, [vector]).rows(torch.ones(1, 1))
    return merged(backbone, vector)


@torch.no_grad()
def _compute(
    backbone: Backbone, pairs: Sequence[TokenizedPair], under_way: LongPass, *, tokens: int, advance: Advance
) -> Tensor:
    batches = micro_batches(pairs, tokens=tokens, capabilities=backbone.capabilities)

    def rows_of(number: int) -> Tensor:
        return _batch_log_probs(backbone, [pairs[i] for i in batches[number]])

    log_probs = torch.empty(len(pairs), 2)
    if batches:
        log_probs[[*chain.from_iterable(batches)]] = under_way.rows(len(batches), rows_of, advance=advance)
    return log_probs


def _batch_log_probs(backbone: Backbone, pairs: Sequence[TokenizedPair]) -> Tensor:
    """Compute the log-probs of a batch. Shape: `(n, 2)`, float32 on the CPU."""
    capabilities = backbone.capabilities
    batch = make_batch(pairs, pad_id=backbone.pad_id, capabilities=capabilities)
    chosen, rejected = sequence_log_probs(backbone.model, batch.to(backbone.device), split_head=capabilities.split_head)
    log_probs = torch.stack([chosen, rejected], dim=1).float().cpu()
    for pair, row in zip(pairs, log_probs.tolist(), strict=True):
        if not all(map(math.isfinite, row)):
            text = "" if pair.source is None else f" (chosen response {pair.source.chosen[:60]!r})"
            raise FloatingPointError(
                f"{backbone.name} gives the log-probs {row} to a preference pair{text}: a reference policy's are "
                f"finite. Check its weights, and model.dtype (float16 overflows where bfloat16 and float32 do not)."
            )
    return log_probs
