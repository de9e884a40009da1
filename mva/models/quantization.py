"""A base in 4 bits: NF4 (arXiv 2305.14314), whose linear layers are unpacked block by block as they are read.

The adapters on it are what they are on any base. The weights are only what 16 levels a block make of them, so that no
update can be merged into them exactly.
"""

from importlib.util import find_spec
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from mva.checks import BadSetting

Quantization = Literal["nf4"]
_THERE = find_spec("bitsandbytes") is not None
if _THERE:
    import bitsandbytes


class NotExact(ValueError):
    """An update that can't be merged into a quantised base exactly."""


def check_quantization(kind: Quantization | None) -> None:
    """Check that the package is there.

    Raises:
        BadSetting: If it isn't.
    """
    if kind is not None and not _THERE:
        raise BadSetting("quantization", f'is {kind}, which needs the package bitsandbytes: pip install "mva[nf4]".')


def quantize(model: PreTrainedModel) -> PreTrainedModel:
    """Pack every linear layer but the output head, in place; they compute in the model's precision.

    Raises:
        BadSetting: If the model has none (GPT-2's projections are no linear layers).
    """
    dtype, head = model.dtype, model.get_output_embeddings()
    layers = {name: layer for name, layer in model.named_modules() if type(layer) is nn.Linear and layer is not head}
    if not layers:
        raise BadSetting("quantization", f"is nf4, but {type(model).__name__} has no linear layers: choose null.")
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, _packed(layer, dtype))
    model.is_loaded_in_4bit = True  # PEFT reads it where it chooses the adapters' layers
    return model


def is_quantized(model: nn.Module) -> bool:
    """Say whether the model's layers are packed."""
    return bool(getattr(model, "is_loaded_in_4bit", False))


def check_mergeable(model: nn.Module) -> None:
    """Check that updates can be merged into the model's weights.

    Raises:
        NotExact: If they are packed.
    """
    if is_quantized(model):
        raise NotExact(
            "The base is quantised to nf4: no update can be merged into its weights exactly. Choose policy=per_row, "
            "export.form=adapter, or model.quantization=null."
        )


def _packed(layer: nn.Linear, dtype: torch.dtype) -> nn.Module:
    packed = bitsandbytes.nn.Linear4bit(
        layer.in_features, layer.out_features, bias=layer.bias is not None, compute_dtype=dtype, quant_type="nf4"
    )
    packed.weight = bitsandbytes.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
    if layer.bias is not None:
        packed.bias = layer.bias
    packed.training = layer.training
    # On CPUs with AVX-512-BF16 the first pass without gradients would repack the weights into a form through which none
    # flow any more, with a warning alone.
    packed.support_avx512bf16_for_cpu = False
    return packed.to(layer.weight.device)
