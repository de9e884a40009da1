"""The backbone: a frozen language model with its tokenizer, its template, and what it can do."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from mva.checks import BadSetting, Text, check, check_one, shown
from mva.data.template import Template
from mva.fingerprint import fingerprint
from mva.models.attention import Kind, take_packed_rows
from mva.models.base_fingerprint import known_by, weights_fingerprint
from mva.models.log_probs import Capabilities, detect_capabilities
from mva.models.quantization import Quantization, check_quantization, quantize
from mva.models.sources.base import Loaded, LoadsOnto, ModelSource
from mva.models.store import Store

Dtype = Literal["float32", "bfloat16", "float16", "float64"]

CPU_TOKENS, DEVICE_TOKENS = 512, 4096


class UnusableModel(ValueError):
    """A model that loads, and can't be trained or scored with."""


@dataclass(frozen=True)
class Backbone:
    """`pi_base`: nothing of it is ever trained.

    `fingerprint` is a hash of the weights themselves, wherever they came from; vectors name it and caches use it.
    `notes` are what the user should know of the model, in sentences.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: Template
    name: str
    fingerprint: str
    capabilities: Capabilities
    notes: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.model.device

    @property
    def token_budget(self) -> int:
        """How many tokens to compute at once, unless somebody says otherwise: a rule, so that runs can be repeated.

        On a CPU activations of more tokens leave the caches: measured on SmolLM2-135M, a step of 16 pairs takes longest
        as one row of 2,100 tokens, and least time in rows of 300 to 600. A GPU wants larger products than that.
        """
        return CPU_TOKENS if self.device.type == "cpu" else DEVICE_TOKENS

    @property
    def pad_id(self) -> int:
        """The id that fills rows up; which one does not matter to the numbers."""
        return self.tokenizer.pad_token_id or 0


@dataclass(frozen=True)
class ModelSettings:
    """How to load the backbone: `dtype` and `device` are torch's names; `auto` takes a GPU where there is one.

    `quantization` packs the linear layers (see `models/quantization.py`), which then compute in `dtype`.

    `attention` is torch's kernel for single texts (`sdpa`), for packed rows (`flex`), or none (`eager`); `auto` is the
    model's own, which is `sdpa` for most.

    `system_prompt` stands before dialogues that bring no system turn; with `system_as_user` system turns become the
    beginning of the first user turn; `template_kwargs` are passed to every rendering of the chat template.
    """

    source: ModelSource
    dtype: Dtype = "float32"
    quantization: Quantization | None = None
    device: Text = "auto"
    attention: Kind = "auto"
    system_prompt: str | None = None
    system_as_user: bool = False
    template_kwargs: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse settings of another type, out of range, or that don't fit each other.

        Raises:
            BadSetting: For the first of them.
        """
        check(self)
        device_named(self.device)
        check_quantization(self.quantization)

    def load(self, store: Store | None = None) -> Backbone:
        """Load the backbone; `store` keeps its fingerprint for the files that it is read from.

        Raises:
            UnusableTemplate: If conversations can't be tokenised as the chat template writes them.
            ModelUnavailable: If the weights can't be had.
            ValueError: If torch has no such dtype.
        """
        return load_backbone(
            self.source,
            dtype=self.dtype,
            device=self.device,
            template=self.template,
            quantization=self.quantization,
            attention=self.attention,
            store=store,
        )

    def template(self, tokenizer: PreTrainedTokenizerBase) -> Template:
        """Make the template of the model's tokenizer."""
        return Template(
            tokenizer,
            system=self.system_prompt,
            system_as_user=self.system_as_user,
            template_kwargs=self.template_kwargs,
        )


def load_backbone(
    source: ModelSource,
    *,
    dtype: Dtype = "float32",
    device: str = "auto",
    template: Callable[[PreTrainedTokenizerBase], Template] = Template,
    quantization: Quantization | None = None,
    attention: Kind = "auto",
    store: Store | None = None,
) -> Backbone:
    """Load a model, freeze it, and find out what it can do; the tokenizer comes first, and is checked.

    A quantised base is another one than its original: vectors that were trained on the one do not fit the other.

    Raises:
        UnusableTemplate: If conversations can't be tokenised as the chat template writes them.
        ModelUnavailable: If the weights can't be had.
        ValueError: If torch has no such dtype.
    """
    check_one("model.dtype", dtype, Dtype)
    check_device(device)
    check_attention(attention, device)
    template(source.tokenizer()).check()
    disable_progress_bar()  # one bar a file says little; the stage is shown
    since = time.time()
    # What is packed into 4 bits is packed on the host: a card that the packed weights fit need not hold them unpacked.
    onto = device_named(device if quantization is None else "cpu")
    model, tokenizer = _loaded(source, getattr(torch, dtype), onto)
    check_weights(model, tokenizer, source.name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    known = known_by(getattr(source, "files", ()), read_since=since)
    parts = [type(model).__name__, weights_fingerprint(model, known, store)]
    if quantization is not None:
        model, parts = quantize(model), [*parts, quantization]
    model = model.to(device_named(device)).eval().requires_grad_(False)
    model.get_output_embeddings().register_forward_pre_hook(_contiguous)
    take_packed_rows(model, attention)
    conversations = template(tokenizer)
    notes = (*getattr(source, "notes", ()), *conversations.notes)
    return Backbone(
        model=model,
        tokenizer=tokenizer,
        template=conversations,
        name=source.name,
        fingerprint=fingerprint(parts),
        capabilities=detect_capabilities(model, vocabulary_size=model.get_input_embeddings().num_embeddings),
        notes=notes,
    )


def _loaded(source: ModelSource, dtype: torch.dtype, device: torch.device) -> Loaded:
    return source.load_onto(dtype, device) if isinstance(source, LoadsOnto) else source.load(dtype)


def device_named(name: str) -> torch.device:
    """Read the name of a device; `auto` is a GPU where there is one.

    Raises:
        BadSetting: If it is no name of a device, wherever that may be.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps") or (device.type == "cpu" and device.index):
        raise BadSetting("device", f"is {shown(name)}: choose auto, cpu, cuda or cuda:1.")
    return device


def visible_gpus() -> list[str]:
    """List the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is None:
        return [str(number) for number in range(torch.cuda.device_count())]
    return [name.strip() for name in stated.split(",") if name.strip() not in ("", "-1")]


def check_device(name: str) -> None:
    """Check that this machine has the device.

    Raises:
        BadSetting: If there is no such device here.
    """
    device, count = device_named(name), torch.cuda.device_count()
    here = device.type == "cpu" or (device.type == "mps" and torch.backends.mps.is_available())
    if not here and not (device.type == "cuda" and (device.index or 0) < count):
        raise BadSetting("device", f"is {shown(name)}, but this machine has {count} CUDA devices: choose auto or cpu.")


def check_attention(attention: Kind, device: str) -> None:
    """Check that the attention can be trained through on the device.

    Raises:
        BadSetting: If it can't.
    """
    if attention == "flex" and device_named(device).type != "cuda":
        raise BadSetting("attention", "is flex, which torch trains through on a GPU alone: choose auto.")


def check_weights(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Check that a loaded model is a plain, finite one that has an embedding for every token.

    Raises:
        UnusableModel: If it carries adapters of PEFT's, holds NaN or infinity, or has fewer rows than tokens.
    """
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise UnusableModel(f"{name} comes with an adapter that is not merged: merge it, or name the adapter's folder.")
    rows, tokens = model.get_input_embeddings().num_embeddings, len(tokenizer)
    if tokens > rows:
        raise UnusableModel(f"{name}: the tokenizer has {tokens} tokens, the embedding {rows} rows: resize the model.")
    for parameter_name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise UnusableModel(f"{name} holds NaN or infinity in {parameter_name}: fetch or save the model again.")


def _contiguous(_head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # Decoding slices each row's last position out. On the CPU, torch multiplies such strided rows one by one, and in
    # half precision copies the head's weights for each of them: gigabytes, and two fifths of a batch's time.
    return (inputs[0].contiguous(), *inputs[1:])
