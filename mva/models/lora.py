"""LoRA on the backbone, through PEFT: attach an adapter, look at its factors, take it off as a value vector."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from mva.models.backbone import Backbone
from mva.models.value_vector import LowRank, ValueVector


@dataclass(frozen=True)
class LoraSpec:
    """A LoRA adapter: update `(alpha / rank) B A`, or `(alpha / sqrt(rank)) B A` with `rslora` (arXiv 2312.03732).

    `targets` are name endings of the adapted modules (`q_proj`, `attn.c_attn`, ...), or "auto": every linear
    projection inside an attention block.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: Sequence[str] | Literal["auto"] = "auto"
    rslora: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no adapter.

        Raises:
            ValueError: For a rank below 1 or a dropout outside [0, 1).
        """
        if self.rank < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"adapter.rank is {self.rank} and adapter.dropout {self.dropout}: need rank >= 1 and 0 <= dropout < 1."
            )


def attention_projections(model: nn.Module) -> list[str]:
    """List the linear projections inside attention blocks as `block.projection` name endings.

    Raises:
        ValueError: If the model has none, with the names of its linear modules.
    """
    linear = (nn.Linear, Conv1D)
    found = {
        f"{name.rpartition('.')[2]}.{child_name}"
        for name, module in model.named_modules()
        if "Attention" in type(module).__name__
        for child_name, child in module.named_children()
        if isinstance(child, linear)
    }
    if not found:
        names = sorted(
            {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, linear)}
        )
        raise ValueError(f"No attention block was found for adapter.targets=auto: name some of {', '.join(names)}.")
    return sorted(found)


def attach(backbone: Backbone, spec: LoraSpec, *, name: str, seed: int) -> PeftModel:
    """Put a fresh adapter on the backbone; it alone is trainable. The same seed gives the same initial factors.

    Raises:
        ValueError: If a target matches no module.
    """
    targets = attention_projections(backbone.model) if spec.targets == "auto" else list(spec.targets)
    matched = [m for n, m in backbone.model.named_modules() if any(n == t or n.endswith(f".{t}") for t in targets)]
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=targets,
        use_rslora=spec.rslora,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in matched),
    )
    if not matched:
        raise ValueError(f"adapter.targets {targets} match no module of {backbone.name}.")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # PEFT's affair, not the user's
        torch.manual_seed(seed)
        return get_peft_model(backbone.model, config, adapter_name=name)


def live_factors(model: PeftModel, name: str) -> dict[str, LowRank]:
    """Look at the adapter's factors, with their gradients; module names are those of the base model."""
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
    metadata = {"fan_in_fan_out": model.peft_config[name].fan_in_fan_out}
    return ValueVector(value=name, factors=factors, base=base, key=key, metadata=metadata)


def detach(model: PeftModel) -> PreTrainedModel:
    """Take every adapter off; the base model is exactly what it was."""
    base = model.unload()
    if hasattr(base, "peft_config"):
        del base.peft_config
    return base.requires_grad_(False)
