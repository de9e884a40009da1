"""A PEFT adapter as a base model: DPO on top of an SFT LoRA starts from the merged weights."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils import cached_file

from mva.models.adapter_files import CONFIG, WEIGHTS
from mva.models.sources.base import ModelUnavailable
from mva.models.sources.published import base_beside


def adapter_config(place: str, *, revision: str | None) -> Mapping[str, Any] | None:
    """Read the adapter's configuration at a hub name or local folder; None where there is no adapter.

    Raises:
        ModelUnavailable: If it is no LoRA, does not name its base, or its file is damaged.
    """
    file = _file(place, CONFIG, revision)
    if file is None:
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        base, kind = config["base_model_name_or_path"], config["peft_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"{place}: {CONFIG} can't be read ({error!r}): save the adapter again.") from error
    if kind != "LORA":
        raise ModelUnavailable(f"{place} is an adapter of the kind {kind}: only LoRA can be merged into its base.")
    if not base:
        raise ModelUnavailable(f"{place} is an adapter that does not name its base: set base_model_name_or_path.")
    return {**config, "base_model_name_or_path": base_beside(Path(place), str(base))}


def merge_adapter(model: PreTrainedModel, place: str, *, revision: str | None) -> PreTrainedModel:
    """Merge the adapter at `place` into `model` (its base, in float32).

    Raises:
        ModelUnavailable: If the adapter is no safetensors file, does not fit the base, or holds NaN.
    """
    file = _file(place, WEIGHTS, revision)
    if file is None:
        raise ModelUnavailable(f"{place} holds no {WEIGHTS}: save the adapter with safetensors.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is missing is looked at below, by name
        try:
            adapted = PeftModel.from_pretrained(model, str(file.parent), use_safetensors=True)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ModelUnavailable(f"The adapter {place} does not fit its base ({reason}).") from error
    with safe_open(file, framework="pt") as tensors:
        stored = set(tensors.keys())
    expected = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    if stored != expected:
        missing, unknown = sorted(expected - stored)[:2], sorted(stored - expected)[:2]
        raise ModelUnavailable(f"The adapter {place} does not fit its base: it lacks {missing} and has {unknown}.")
    try:
        merged: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise ModelUnavailable(f"The adapter {place} can't be merged ({error}).") from error
    if hasattr(merged, "peft_config"):
        del merged.peft_config
    return merged


def _file(place: str, name: str, revision: str | None) -> Path | None:
    options = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    path = cached_file(place, name, revision=revision, _raise_exceptions_for_gated_repo=False, **options)
    return None if path is None else Path(path)
