"""LoRA adapters that PEFT saved elsewhere, as value vectors: everything that plain LoRA can say, and nothing else.

Reading an adapter needs no base model, so that an unusable one is refused before the weights are loaded;
`adapter_fit.fit_to` then holds it against the backbone. Factors are kept in float32 (float64 where the file has it);
scalings are PEFT's own: `alpha / r`, or `alpha / sqrt(r)` with rsLoRA (arXiv 2312.03732), by module.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from torch import Tensor

from mva.models.adapter_files import CONFIG, WEIGHTS, BrokenAdapter, checked_factor, read_json, read_tensors
from mva.models.store import key_of
from mva.models.tensor_hash import tensors_fingerprint
from mva.models.value_vector import LowRank

_PREFIX = "base_model.model."
ALL_LINEAR = "all-linear"
# What shapes the update, and is honoured here.
_HONOURED = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "target_modules", "exclude_modules",
             "layers_to_transform", "layers_pattern")  # fmt: skip
# What says nothing about the update, once it is trained and its base is at hand.
_WITHOUT_EFFECT = ("peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
                   "lora_dropout", "fan_in_fan_out", "megatron_core", "qalora_group_size", "eva_config",
                   "runtime_config", "velora_config")  # fmt: skip
# The settings of the same name must have one of these values; any other changes what the adapter computes.
_REQUIRED: Mapping[str, tuple[object, ...]] = {
    "bias": ("none",),
    "task_type": ("CAUSAL_LM", None),
    # Others (PiSSA, OLoRA, CorDA, LoRA-GA, LoftQ) move the base's weights when the adapter is made.
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
}
_REASONS = {
    "use_dora": "DoRA scales the whole weight's columns, which is no sum of updates",
    "bias": "biases are trained beside the low-rank update",
    "modules_to_save": "whole modules are trained beside the low-rank update",
    "trainable_token_indices": "token embeddings are trained beside the low-rank update",
    "target_parameters": "parameters outside of linear modules are adapted",
    "init_lora_weights": "it moves the base's weights; save it with path_initial_model_for_weight_conversion",
    "task_type": "it was not trained on a causal language model",
}
_KEY = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_BASE_WEIGHT = re.compile(r"(?P<module>(?!.*\.lora_).+?)(\.base_layer)?\.weight")


@dataclass(frozen=True)
class PeftAdapter:
    """What a PEFT folder holds: the update of each module, and the configuration that says which modules there are.

    `base_weights` are the base's own weights by module: PEFT saves embeddings and head along where the head is adapted.
    """

    folder: Path
    config: LoraConfig
    factors: Mapping[str, LowRank]
    base_weights: Mapping[str, Tensor]

    @property
    def key(self) -> str:
        """Content address of the update: a hash of the factors and their scalings, wherever they lie."""
        tensors = {f"{name}.{side}": getattr(f, side) for name, f in self.factors.items() for side in ("a", "b")}
        scalings = {name: factor.scaling for name, factor in self.factors.items()}
        return key_of({"adapter": tensors_fingerprint(tensors.items()), "scalings": scalings})


def read_peft_adapter(folder: Path) -> PeftAdapter:
    """Read a LoRA adapter that PEFT saved; nothing is unpickled and no base model is needed.

    Raises:
        BrokenAdapter: If it is no plain LoRA, a factor is missing, misshapen or not finite, or the configuration
            and the weights disagree.
    """
    _check_files(folder)
    settings = read_json(folder / CONFIG)
    _check_settings(settings, folder)
    config = _lora_config(settings, folder)
    tensors = read_tensors(folder / WEIGHTS)
    plain = {key.removeprefix(_PREFIX): tensor for key, tensor in tensors.items()}
    if len(plain) < len(tensors):
        raise BrokenAdapter(f"{folder / WEIGHTS} names a factor twice, with and without the prefix '{_PREFIX}'.")
    base_weights = {match["module"]: plain.pop(key) for key in list(plain) if (match := _BASE_WEIGHT.fullmatch(key))}
    modules = sorted({_module_of(key, folder) for key in plain})
    if not modules:
        raise BrokenAdapter(f"{folder / WEIGHTS} holds no factors: the adapter adapts nothing.")
    factors = {module: _factor(module, plain, config, folder) for module in modules}
    for module in modules:
        if config.target_modules != ALL_LINEAR and not _targets(config, module, folder):
            raise BrokenAdapter(
                f"{folder / WEIGHTS} holds factors of {module}, which {CONFIG} does not target: the two files do not "
                f"belong together."
            )
    return PeftAdapter(folder, config, factors, base_weights)


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise BrokenAdapter(f"There is no folder {folder}: name a local folder that holds {CONFIG} and {WEIGHTS}.")
    if not (folder / CONFIG).is_file():
        below = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
        hint = f": name one of its adapters, {', '.join(below)}" if below else ": it is no PEFT adapter's folder"
        raise BrokenAdapter(f"{folder} has no {CONFIG}{hint}.")
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        found = "adapter_model.bin, a pickle, which is never read" if pickled else "no weights"
        raise BrokenAdapter(f"{folder} holds {found}: save the adapter with PEFT as {WEIGHTS}.")


def _check_settings(settings: Mapping[str, Any], folder: Path) -> None:
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise BrokenAdapter(f"{folder} is a PEFT adapter of type {kind}: vectors are LoRA adapters alone.")
    for name, setting in settings.items():
        if name in _HONOURED or name in _WITHOUT_EFFECT:
            continue
        allowed = _REQUIRED.get(name, (None, False))
        # Empty lists and mappings say nothing; `True == 1` must not let a number pass for a flag.
        empty = name not in _REQUIRED and setting in ({}, [], "")
        if not empty and not any(setting is choice or setting == choice for choice in allowed):
            reason = _REASONS.get(name, "a vector is nothing but W + s B A")
            raise BrokenAdapter(f"{folder} has {name}={json.dumps(setting)}, which can't be combined: {reason}.")


def _lora_config(settings: Mapping[str, Any], folder: Path) -> LoraConfig:
    wanted = {name: settings[name] for name in _HONOURED if settings.get(name) is not None}
    base = settings.get("base_model_name_or_path")
    try:
        for number in (settings["r"], *wanted.get("rank_pattern", {}).values()):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"r is {number}, a rank is a whole number from 1")
        for number in (settings["lora_alpha"], *wanted.get("alpha_pattern", {}).values()):
            if isinstance(number, bool) or not math.isfinite(number) or number <= 0:
                raise ValueError(f"alpha is {number}, expected a finite number above 0")
        if not isinstance(base, str | None):
            raise ValueError("base_model_name_or_path is no text")
        if not wanted.get("target_modules"):
            raise ValueError("target_modules is empty")
        config = LoraConfig(**wanted, base_model_name_or_path=base)
        check_target_module_exists(config, "a.0.b")  # a broken pattern shows here
        get_pattern_key([*config.rank_pattern, *config.alpha_pattern], "a.0.b")
    except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise BrokenAdapter(f"{folder / CONFIG} makes no LoRA configuration ({error}).") from error
    return config


def _targets(config: LoraConfig, module: str, folder: Path) -> bool:
    try:
        return bool(check_target_module_exists(config, module))
    except (TypeError, re.error) as error:  # of layers_to_transform or layers_pattern
        raise BrokenAdapter(f"{folder / CONFIG} has targets that can't be read ({error}).") from error


def _module_of(key: str, folder: Path) -> str:
    match = _KEY.fullmatch(key.removeprefix(_PREFIX))
    if match is None:
        kind = "an embedding's factors" if ".lora_embedding_" in key else "a tensor that is no factor of plain LoRA"
        raise BrokenAdapter(f"{folder / WEIGHTS} holds '{key}', {kind}: only linear modules' lora_A and lora_B count.")
    return match["module"]


def _factor(module: str, tensors: Mapping[str, Tensor], config: LoraConfig, folder: Path) -> LowRank:
    rank = config.rank_pattern.get(get_pattern_key(list(config.rank_pattern), module), config.r)
    alpha = config.alpha_pattern.get(get_pattern_key(list(config.alpha_pattern), module), config.lora_alpha)
    scaling = alpha / math.sqrt(rank) if config.use_rslora else alpha / rank
    factor = checked_factor(module, tensors, scaling, folder / WEIGHTS)
    if factor.a.shape[0] != rank:
        raise BrokenAdapter(
            f"{folder} has factors of rank {factor.a.shape[0]} for {module}, but {CONFIG} says {rank}: the two files "
            f"do not belong together."
        )
    wide = torch.promote_types(factor.a.dtype, torch.float32)
    return LowRank(factor.a.to(wide), factor.b.to(wide), scaling)
