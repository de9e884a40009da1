"""LoRA on the backbone, through PEFT: attach an adapter, look at its factors, take it off as a value vector."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from mva.checks import FILLED, Bounds, Positive, Text, check
from mva.models.backbone import Backbone
from mva.models.value_vector import LowRank, ValueVector

_LINEAR = (nn.Linear, Conv1D)


@dataclass(frozen=True)
class LoraSpec:
    """A LoRA adapter: update `(alpha / rank) B A`, or `(alpha / sqrt(rank)) B A` with `rslora` (arXiv 2312.03732).

    `targets` are name endings of the adapted modules (`q_proj`, `attn.c_attn`, ...), one or several; or "auto": every
    linear projection inside an attention block; or "all-linear": every linear projection but the output head.
    """

    rank: Annotated[int, Bounds(1, 65_536)] = 16
    alpha: Positive = 32.0
    dropout: Annotated[float, Bounds(0, 1, below=True)] = 0.0
    targets: Annotated[Sequence[Text], FILLED] | Text = "auto"
    rslora: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)


def attention_projections(model: nn.Module) -> list[str]:
    """List the linear projections inside attention blocks as `block.projection` name endings.

    Raises:
        ValueError: If the model has none, with the names of its linear modules.
    """
    found = {
        f"{name.rpartition('.')[2]}.{child_name}"
        for name, module in model.named_modules()
        if "Attention" in type(module).__name__
        for child_name, child in module.named_children()
        if isinstance(child, _LINEAR)
    }
    if not found:
        names = sorted(
            {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, _LINEAR)}
        )
        raise ValueError(f"No attention block was found for adapter.targets=auto: name some of {', '.join(names)}.")
    return sorted(found)


def target_modules(model: nn.Module, targets: Sequence[str] | str) -> list[str]:
    """List the full names of the modules that `targets` (see `LoraSpec`) mean.

    Raises:
        ValueError: If an entry matches no module, or one that can't carry a LoRA everywhere it is used: an embedding,
            the output head (it may share the input embedding's weights), or anything but a linear projection.
    """
    modules = dict(model.named_modules())
    head = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
    linear = {name: module for name, module in modules.items() if isinstance(module, _LINEAR)}
    if targets == "all-linear":
        return [name for name, module in linear.items() if module is not head and not _routed(modules, name)]
    words = attention_projections(model) if targets == "auto" else [targets] if isinstance(targets, str) else targets
    matched: list[str] = []
    for word in words:
        names = [name for name in modules if name == word or name.endswith(f".{word}")]
        if not names:
            offered = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
            raise ValueError(f"adapter.targets: '{word}' matches no module of the model, which has {offered}.")
        for name in names:
            _check_target(modules, name, word, head=head)
        matched += names
    return list(dict.fromkeys(matched))


def _check_target(modules: Mapping[str, nn.Module], name: str, word: str, *, head: nn.Module | None) -> None:
    reason = unadaptable(modules, name)
    if modules[name] is head:
        reason = "is the output head, whose weights may be the input embedding's, too"
    if reason is not None:
        raise ValueError(f"adapter.targets: '{word}' means {name}, which {reason}: leave it out.")


def unadaptable(modules: Mapping[str, nn.Module], name: str) -> str | None:
    """Say why the module can't carry a LoRA with coefficients by row; None if it can."""
    module = modules[name]
    if isinstance(module, nn.Embedding):
        return "is an embedding, whose update is no product with its input"
    if not isinstance(module, _LINEAR):
        return f"is a {type(module).__name__}, no linear projection"
    if _routed(modules, name):
        return "is a projection of experts, which do not see all of a row's tokens"
    return None


def _routed(modules: Mapping[str, nn.Module], name: str) -> bool:
    """Say whether the module lies inside a mixture of experts."""
    parents = [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
    kinds = [type(modules[parent]).__name__.lower() for parent in parents if parent in modules]
    return any("moeblock" in kind or "sparsemoe" in kind or "experts" in kind for kind in kinds)


def adapter_name(value: str) -> str:
    """Name a value's adapter inside the model: as the value, unless torch or PEFT can't have a module of that name.

    Modules take no dots and no names of their container's attributes (`keys`, `train`), PEFT no `lora_`.
    """
    if "." not in value and "lora_" not in value and not hasattr(nn.ModuleDict(), value):
        return value
    return f"value {value.encode().hex()}"


def attach(backbone: Backbone, spec: LoraSpec, *, name: str, seed: int) -> PeftModel:
    """Put a fresh adapter on the backbone; it alone is trainable. The same seed gives the same initial factors.

    What its `dropout` drops is the business of whoever trains it (`models/keyed_dropout.py`).

    Raises:
        ValueError: If a target matches no module, or one that can't be adapted.
    """
    targets = target_modules(backbone.model, spec.targets)
    modules = dict(backbone.model.named_modules())
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.rank,
        lora_alpha=spec.alpha,
        target_modules=targets,
        use_rslora=spec.rslora,
        fan_in_fan_out=any(isinstance(modules[name], Conv1D) for name in targets),
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # PEFT's affair, not the user's
        torch.manual_seed(seed)
        return get_peft_model(backbone.model, config, adapter_name=adapter_name(name))


def live_factors(model: PeftModel, name: str) -> dict[str, LowRank]:
    """Look at the adapter's factors, with their gradients; module names are those of the base model."""
    name = adapter_name(name)
    return {
        module_name: LowRank(module.lora_A[name].weight, module.lora_B[name].weight, float(module.scaling[name]))
        for module_name, module in model.get_base_model().named_modules()
        if name in getattr(module, "lora_A", {})
    }


def start_from(model: PeftModel, name: str, vector: ValueVector) -> None:
    """Give the adapter the vector's factors.

    Raises:
        ValueError: If the vector adapts other modules, or has another rank or scaling.
    """
    for module, factor in live_factors(model, name).items():
        given = vector.factors.get(module)
        if given is None or given.a.shape != factor.a.shape or given.scaling != factor.scaling:
            raise ValueError(f"The vector '{vector.value}' does not fit the adapter at {module}: train both alike.")
        factor.a.data.copy_(given.a)
        factor.b.data.copy_(given.b)


def extract(model: PeftModel, name: str, *, base: str, key: str = "") -> ValueVector:
    """Copy the adapter out as a value vector of the backbone with fingerprint `base`."""
    factors = {
        module: LowRank(f.a.detach().cpu().clone(), f.b.detach().cpu().clone(), f.scaling)
        for module, f in live_factors(model, name).items()
    }
    metadata = {"fan_in_fan_out": model.peft_config[adapter_name(name)].fan_in_fan_out}
    return ValueVector(value=name, factors=factors, base=base, key=key, metadata=metadata)


def detach(model: PeftModel) -> PreTrainedModel:
    """Take every adapter off; the base model is exactly what it was."""
    base = model.unload()
    if hasattr(base, "peft_config"):
        del base.peft_config
    return base.requires_grad_(False)
