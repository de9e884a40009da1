"""The reference policy's log-probs: computed once per (base, tokenised data), stored, shared by every value and job."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mva.data.tokenization import TokenizedPair
from mva.models.backbone import Backbone
from mva.models.log_probs import make_batch, sequence_log_probs
from mva.models.merge import merged
from mva.models.store import Store, key_of
from mva.models.value_vector import ValueVector

_FILE = "log_probs.safetensors"


def reference_log_probs(
    backbone: Backbone,
    pairs: Sequence[TokenizedPair],
    store: Store,
    *,
    vector: ValueVector | None = None,
    batch_size: int = 8,
    advance: Callable[[int], None] = lambda _done: None,
) -> Tensor:
    """Log-probs of (chosen, rejected) under the base, or the base with `vector`; call it while no adapter is attached.

    `advance` is called with the number of pairs that were finished. Shape: `(n, 2)`, float32 on the CPU, in nats.
    """
    tokens = [[pair.prompt, pair.chosen, pair.rejected] for pair in pairs]
    spec = {"base": backbone.fingerprint, "packed": backbone.capabilities.packed, "pairs": tokens}
    key = key_of(spec if vector is None else {**spec, "vector": vector.key})

    def write(folder: Path) -> None:
        with nullcontext() if vector is None else merged(backbone, vector):
            log_probs = _compute(backbone, pairs, batch_size=batch_size, advance=advance)
        save_file({"log_probs": log_probs}, folder / _FILE)

    with store.making("reference", key, what="the reference log-probs"):
        stored = store.get("reference", key)
        if stored is None:
            stored = store.put("reference", key, write)
        else:
            advance(len(pairs))
    return load_file(stored / _FILE)["log_probs"]


@torch.no_grad()
def _compute(
    backbone: Backbone, pairs: Sequence[TokenizedPair], *, batch_size: int, advance: Callable[[int], None]
) -> Tensor:
    by_length = sorted(range(len(pairs)), key=lambda i: -len(pairs[i].prompt + pairs[i].chosen + pairs[i].rejected))
    log_probs = torch.empty(len(pairs), 2)
    capabilities, dtype = backbone.capabilities, backbone.model.dtype
    for start in range(0, len(pairs), batch_size):
        rows = by_length[start : start + batch_size]
        few = [pairs[i] for i in rows]
        batch = make_batch(few, pad_id=backbone.pad_id, capabilities=capabilities, dtype=dtype)
        chosen, rejected = sequence_log_probs(
            backbone.model, batch.to(backbone.device), split_head=capabilities.split_head
        )
        log_probs[rows] = torch.stack([chosen, rejected], dim=1).float().cpu()
        advance(len(rows))
    return log_probs
