"""How trained vectors lie in the store: finite, with the metrics of their training; the time it took is a note."""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mva.models.adapter_files import load_adapter, save_adapter
from mva.models.store import Store
from mva.models.value_vector import ValueVector
from mva.records import read_json
from mva.shapes import anything, count, list_of, named, number
from mva.training.steps import History

_HISTORY = "history.json"
_KIND = "vectors"


def put_vector(store: Store, vector: ValueVector, history: History, *, pairs: float, seconds: float) -> None:
    """Store a vector that `pairs` pairs through forward and backward made, in `seconds`.

    Raises:
        FloatingPointError: If the vector, its norm or a metric is not finite.
    """
    check_finite(vector)
    for step, metrics in history:
        for name, metric in metrics.items():
            if not math.isfinite(metric):
                raise FloatingPointError(
                    f"{name} of '{vector.value}' is {metric} at step {step}: lower trainer.learning_rate."
                )
    vector = replace(vector, metadata={**vector.metadata, "cost": {"pairs": pairs}})

    def write(folder: Path) -> None:
        save_adapter(vector, folder)
        (folder / _HISTORY).write_text(json.dumps(history, allow_nan=False), encoding="utf-8")

    store.put(_KIND, vector.key, write)
    store.annotate(_KIND, vector.key, seconds=seconds)


def stored_vector(store: Store, key: str, *, base: str) -> tuple[ValueVector, History]:
    """Read a vector that the store holds, for the backbone with the fingerprint `base`, and its metrics.

    Raises:
        FloatingPointError: If an earlier version stored a vector that is not finite.
    """
    folder = store.get(_KIND, key)
    assert folder is not None
    vector = load_adapter(folder, expect_base=base)
    check_finite(vector, advice=f"remove {folder}, and lower trainer.learning_rate")
    cost = vector.metadata.get("cost")
    seconds = store.note(_KIND, key).get("seconds")
    if isinstance(cost, dict) and "seconds" not in cost:
        vector = replace(vector, metadata={**vector.metadata, "cost": {**cost, "seconds": seconds or 0.0}})
    return vector, read_history(folder)


def read_history(folder: Path) -> History:
    """Read the metrics of a stored vector's training."""
    lines = read_json(folder / _HISTORY, list_of(_metrics), mend=f"remove {folder}: it is made again")
    return [(step, metrics) for step, metrics in lines]


def _metrics(line: Any) -> None:
    """Take a step and its metrics."""
    list_of(anything, at_least=2)(line)
    step, metrics = line[:2]
    count(step)
    named(number)(metrics)


def check_finite(vector: ValueVector, *, advice: str = "lower trainer.learning_rate") -> None:
    """Check a vector's numbers, and that its size can be said.

    Raises:
        FloatingPointError: If a number of it, or its norm, is not finite.
    """
    tensors: Iterable[torch.Tensor] = (side for f in vector.factors.values() for side in (f.a, f.b))
    if not (all(bool(torch.isfinite(tensor).all()) for tensor in tensors) and math.isfinite(vector.norm())):
        raise FloatingPointError(f"Training made the vector of '{vector.value}' infinite, or NaN: {advice}.")
