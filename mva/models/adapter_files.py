"""Value vectors on disk: PEFT's own format, plus what the vector is (mva_vector.json); checked when read."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mva import records
from mva.models.value_vector import LowRank, ValueVector
from mva.names import check_name
from mva.shapes import anything, named

_LARGEST = sys.float_info.max
_PREFIX = "base_model.model."
WEIGHTS, CONFIG, VECTOR = "adapter_model.safetensors", "adapter_config.json", "mva_vector.json"
_RECORD: Mapping[str, type] = {"value": str, "base": str, "key": str, "metadata": dict, "scalings": dict}
_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


class BrokenAdapter(ValueError):
    """The folder does not hold a whole, finite adapter of this backbone."""


def save_adapter(
    vector: ValueVector, folder: Path, *, base_model: str | None = None, revision: str | None = None
) -> None:
    """Write a vector so that plain PEFT loads it; `base_model` is the name that PEFT users will load it onto."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for module, factor in vector.factors.items():
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = factor.a.contiguous()
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = factor.b.contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    ranks = {module: factor.a.shape[0] for module, factor in vector.factors.items()}
    alphas = {module: factor.scaling * ranks[module] for module, factor in vector.factors.items()}
    # The alpha of the largest rank: readers that know no patterns then scale by alpha / r as this module does.
    largest = max(ranks, key=lambda module: ranks[module])
    rank, alpha = ranks[largest], alphas[largest]
    config = LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_model,
        revision=revision,
        inference_mode=True,
        r=rank,
        lora_alpha=alpha,
        target_modules=sorted(vector.factors),
        rank_pattern={_exactly(module): r for module, r in ranks.items() if r != rank},
        alpha_pattern={_exactly(module): a for module, a in alphas.items() if a != alpha},
        fan_in_fan_out=bool(vector.metadata.get("fan_in_fan_out", False)),
    )
    # PEFT makes a set of it, which is written in another order by every process.
    config.target_modules = sorted(vector.factors)
    config.save_pretrained(str(folder))
    about = {"value": vector.value, "base": vector.base, "key": vector.key, "metadata": dict(vector.metadata)}
    scalings = {module: factor.scaling for module, factor in vector.factors.items()}
    (folder / VECTOR).write_text(json.dumps({"schema_version": 1, **about, "scalings": scalings}), encoding="utf-8")


def load_adapter(folder: Path, *, expect_base: str | None = None) -> ValueVector:
    """Read a vector written by `save_adapter`; nothing is ever unpickled.

    Raises:
        BrokenAdapter: If a file is missing or unreadable, a factor has no partner, a wrong shape or dtype, a number
            is not finite, a scaling is negative, or the vector belongs to another backbone than `expect_base`.
        BadName: If the value that it names can't be a folder's name.
    """
    if not (folder / WEIGHTS).is_file() or not (folder / VECTOR).is_file():
        raise BrokenAdapter(f"{folder} lacks {WEIGHTS} or {VECTOR}: it is no value vector's folder.")
    about = _checked_record(read_json(folder / VECTOR), folder / VECTOR)
    check_name(about["value"], where=f"value in {folder / VECTOR}")
    if expect_base is not None and about["base"] != expect_base:
        raise BrokenAdapter(
            f"{folder} was trained on another backbone ({about['base'][:12]}... instead of {expect_base[:12]}...): "
            f"choose the model it was trained on."
        )
    tensors = {key.removeprefix(_PREFIX): tensor for key, tensor in read_tensors(folder / WEIGHTS).items()}
    factors = {
        module: checked_factor(module, tensors, scaling, folder / WEIGHTS)
        for module, scaling in about["scalings"].items()
    }
    if len(tensors) != 2 * len(factors):
        raise BrokenAdapter(f"{folder / WEIGHTS} holds tensors that {VECTOR} does not name.")
    return ValueVector(about["value"], factors, about["base"], about["key"], about["metadata"])


def _checked_record(record: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    if missing := sorted(_RECORD.keys() - record.keys()):
        raise BrokenAdapter(f"{path} lacks {', '.join(missing)}: copy the vector again.")
    for name, kind in _RECORD.items():
        if not isinstance(record[name], kind):
            expected = "text" if kind is str else "an object"
            raise BrokenAdapter(f"{path} has {name} that is not {expected}: copy the vector again.")
    if not record["scalings"]:
        raise BrokenAdapter(f"{path} names no module: the vector adapts nothing. Copy the vector again.")
    return record


def load_vectors(adapters: Path, values: Sequence[str], *, expect_base: str | None = None) -> list[ValueVector]:
    """Read the vectors of `values` out of a run's `adapters/`, where each lies in the folder of its value.

    Raises:
        BrokenAdapter: If a vector is not there, is broken (see `load_adapter`), or is that of another value.
    """
    there = vector_names(adapters)
    vectors = []
    for value in values:
        if value not in there:
            raise BrokenAdapter(f"{adapters} holds no vector of '{value}': it has {', '.join(there) or 'none'}.")
        vector = load_adapter(adapters / value, expect_base=expect_base)
        if vector.value != value:
            raise BrokenAdapter(
                f"{adapters / value} holds the vector of '{vector.value}', not of '{value}': put it back into the "
                f"folder of its value."
            )
        vectors.append(vector)
    return vectors


def vector_names(adapters: Path) -> list[str]:
    """Name the vectors that lie in a run's `adapters/`."""
    return sorted(path.parent.name for path in adapters.glob(f"*/{VECTOR}"))


def read_json(path: Path) -> dict[str, Any]:
    """Read an adapter's JSON file.

    Raises:
        BrokenAdapter: If it is no JSON object, or holds NaN, a field twice, or what is nested too deeply.
    """
    record: dict[str, Any] = records.read_json(
        path, named(anything), mend="copy the adapter again", error=BrokenAdapter
    )
    return record


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read an adapter's safetensors.

    Raises:
        BrokenAdapter: If the file is damaged.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BrokenAdapter(f"{path} is no whole safetensors file ({error}): copy the adapter again.") from error


def checked_factor(module: str, tensors: Mapping[str, Tensor], scaling: object, path: Path) -> LowRank:
    """Take a module's factors out of `tensors` (named without PEFT's prefix) of the file `path`.

    Raises:
        BrokenAdapter: If one is missing, is no matrix of real floating-point numbers, holds a number that is not
            finite, if the shapes do not belong together, the rank is 0, or the scaling is negative or not finite.
    """
    a, b = (tensors.get(f"{module}.lora_{side}.weight") for side in "AB")
    if a is None or b is None:
        raise BrokenAdapter(f"{path} lacks lora_{'A' if a is None else 'B'} of {module}: copy the adapter again.")
    for side, factor in (("A", a), ("B", b)):
        if factor.ndim != 2 or factor.dtype not in _FLOATS:
            raise BrokenAdapter(
                f"{path} has lora_{side} of {module} as {factor.dtype} of shape {tuple(factor.shape)}: a factor is a "
                f"matrix of floating-point numbers."
            )
        if not torch.isfinite(factor).all():
            raise BrokenAdapter(f"{path} holds NaN or infinity in {module}: train the vector again.")
    if a.shape[0] != b.shape[1] or a.shape[0] == 0:
        raise BrokenAdapter(
            f"{path} has no matching pair of factors for {module}: A is {tuple(a.shape)}, B is {tuple(b.shape)}."
        )
    if isinstance(scaling, bool) or not isinstance(scaling, int | float) or not 0 <= scaling <= _LARGEST:
        raise BrokenAdapter(f"{path} goes with the scaling {scaling} of {module}: a finite number from 0 is expected.")
    return LowRank(a, b, float(scaling))


def _exactly(module: str) -> str:
    # PEFT matches a pattern against name endings, too, unless it is anchored.
    return f"^{re.escape(module)}"
