"""Whether an adapter that was trained elsewhere fits the backbone, and what makes that doubtful."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from mva.models.adapter_files import CONFIG, VECTOR, WEIGHTS, BrokenAdapter, read_json
from mva.models.backbone import Backbone
from mva.models.foreign_adapters import ALL_LINEAR, PeftAdapter
from mva.models.lora import unadaptable
from mva.models.value_vector import LowRank, ValueVector


def fit_to(adapter: PeftAdapter, backbone: Backbone, *, value: str) -> ValueVector:
    """Make the adapter the vector of `value` on this backbone; its modules and shapes must fit.

    Whether the weights are those that it was trained on can't be seen: `doubts` says what speaks against it.

    Raises:
        BrokenAdapter: If a module is missing, is no linear projection or has another shape, if the adapter lacks
            factors of modules that it targets, or adapts a head that is tied to the embeddings.
    """
    modules = dict(backbone.model.named_modules())
    for name, factor in adapter.factors.items():
        _check_module(name, factor, modules, adapter, backbone)
    for name, weight in adapter.base_weights.items():
        _check_base_weight(name, weight, modules, adapter, backbone)
    targeted = set(_targeted(adapter.config, backbone.model))
    if missing := sorted(targeted - set(adapter.factors)):
        raise BrokenAdapter(
            f"{adapter.folder / WEIGHTS} has no factors of {missing[0]} ({len(missing)} of {len(targeted)} modules "
            f"that {CONFIG} targets are missing): copy the whole adapter again."
        )
    metadata = {
        "fan_in_fan_out": any(isinstance(modules[name], Conv1D) for name in adapter.factors),
        "origin": {"folder": str(adapter.folder), "base": adapter.config.base_model_name_or_path},
    }
    return ValueVector(value, adapter.factors, backbone.fingerprint, adapter.key, metadata)


def doubts(adapter: PeftAdapter, backbone: Backbone, *, note: str | None = None) -> list[str]:
    """Say what makes it doubtful that the adapter belongs on this backbone, or does anything there.

    `note` says how the backbone's weights differ from those of their name (see `Published`), if they do.
    """
    lines = []
    base = adapter.config.base_model_name_or_path
    if base is None:
        lines.append(f"{adapter.folder} does not name its base; its modules and shapes fit {backbone.name}")
    elif Path(base).name.casefold() != Path(backbone.name).name.casefold():
        lines.append(
            f"{adapter.folder} names {base} as its base; its modules and shapes fit {backbone.name}: "
            f"make sure that the weights are the same"
        )
    trained_on = read_json(adapter.folder / VECTOR).get("base") if (adapter.folder / VECTOR).is_file() else None
    if trained_on not in (None, "", backbone.fingerprint):
        lines.append(f"{adapter.folder} was trained on other weights than {backbone.name}, or in another dtype")
    if note is not None and trained_on != backbone.fingerprint:
        lines.append(note)
    if not any(bool(factor.b.any() and factor.a.any()) for factor in adapter.factors.values()):
        lines.append(f"{adapter.folder} changes nothing: the update of every module is zero")
    return lines


def same_adapters(adapters: Mapping[str, PeftAdapter]) -> list[str]:
    """Name the pairs of values that were given the very same update."""
    return [
        f"{first} and {second} are the same adapter: their coefficients add up"
        for first, second in combinations(adapters, 2)
        if adapters[first].key == adapters[second].key
    ]


def _check_module(
    name: str, factor: LowRank, modules: Mapping[str, nn.Module], adapter: PeftAdapter, backbone: Backbone
) -> None:
    trained_on = adapter.config.base_model_name_or_path or "a base that it does not name"
    if name not in modules:
        raise BrokenAdapter(
            f"{adapter.folder} adapts {name}, a module that {backbone.name} lacks: it was trained on {trained_on}."
        )
    if reason := unadaptable(modules, name):
        raise BrokenAdapter(f"{adapter.folder} adapts {name}, which {reason}: train it without.")
    module: Any = modules[name]
    d_in, d_out = module.weight.shape if isinstance(module, Conv1D) else reversed(module.weight.shape)
    if (factor.a.shape[1], factor.b.shape[0]) != (d_in, d_out):
        raise BrokenAdapter(
            f"{adapter.folder} adapts {name} as {factor.a.shape[1]} -> {factor.b.shape[0]}, but in {backbone.name} it "
            f"is {d_in} -> {d_out}: it was trained on {trained_on}."
        )
    embeddings = backbone.model.get_input_embeddings()
    if module is backbone.model.get_output_embeddings() and module.weight is embeddings.weight:
        raise BrokenAdapter(
            f"{adapter.folder} adapts {name}, whose weights {backbone.name} shares with its embeddings: merged, the "
            f"update would reach both."
        )


def _check_base_weight(
    name: str, stored: Tensor, modules: Mapping[str, nn.Module], adapter: PeftAdapter, backbone: Backbone
) -> None:
    """Refuse weights that the adapter brings along and that are not the backbone's own, to the coarser precision."""
    own = getattr(modules.get(name), "weight", None)
    if isinstance(own, Tensor) and own.shape == stored.shape:
        stored = stored.to(own.device)
        if torch.equal(stored, own.to(stored.dtype)) or torch.equal(stored.to(own.dtype), own):
            return
    raise BrokenAdapter(
        f"{adapter.folder / WEIGHTS} changes {name}, whose weights differ from those of {backbone.name}: only "
        f"low-rank updates can be combined."
    )


def _targeted(config: LoraConfig, model: Any) -> Iterator[str]:
    """Name the linear modules that PEFT would adapt by this configuration."""
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear | Conv1D):
            continue
        if config.target_modules == ALL_LINEAR:
            if module is not model.get_output_embeddings():
                yield name
        elif check_target_module_exists(config, name):
            yield name
