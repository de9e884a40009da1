"""The backbone: a frozen language model with its tokenizer, its template, and what it can do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from mva.data.template import Template
from mva.fingerprint import fingerprint, tensors_fingerprint
from mva.models.log_probs import Capabilities, detect_capabilities
from mva.models.sources.base import ModelSource


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
    def pad_id(self) -> int:
        """The id that fills rows up; which one does not matter to the numbers."""
        return self.tokenizer.pad_token_id or 0


@dataclass(frozen=True)
class ModelSettings:
    """How to load the backbone: `dtype` and `device` are torch's names; `auto` takes a GPU where there is one.

    `system_prompt` stands before dialogues that bring no system turn; with `system_as_user` system turns become the
    beginning of the first user turn; `template_kwargs` are passed to every rendering of the chat template.
    """

    source: ModelSource
    dtype: str = "float32"
    device: str = "auto"
    system_prompt: str | None = None
    system_as_user: bool = False
    template_kwargs: Mapping[str, object] = field(default_factory=dict)

    def load(self) -> Backbone:
        """Load the backbone.

        Raises:
            UnusableTemplate: If conversations can't be tokenised as the chat template writes them.
            ModelUnavailable: If the weights can't be had.
            ValueError: If torch has no such dtype.
        """
        return load_backbone(self.source, dtype=self.dtype, device=self.device, template=self.template)

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
    dtype: str = "float32",
    device: str = "auto",
    template: Callable[[PreTrainedTokenizerBase], Template] = Template,
) -> Backbone:
    """Load a model, freeze it, and find out what it can do; the tokenizer comes first, and is checked.

    Raises:
        UnusableTemplate: If conversations can't be tokenised as the chat template writes them.
        ModelUnavailable: If the weights can't be had.
        ValueError: If torch has no such dtype.
    """
    torch_dtype = getattr(torch, dtype, None)
    if not isinstance(torch_dtype, torch.dtype) or not torch_dtype.is_floating_point:
        raise ValueError(f"model.dtype is '{dtype}': choose float32, bfloat16, float16 or float64.")
    template(source.tokenizer()).check()
    disable_progress_bar()  # one bar a file says little; the stage is shown
    model, tokenizer = source.load(torch_dtype)
    check_weights(model, tokenizer, source.name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    model = model.to(where).eval().requires_grad_(False)
    model.get_output_embeddings().register_forward_pre_hook(_contiguous)
    conversations = template(tokenizer)
    notes = (*getattr(source, "notes", ()), *conversations.notes)
    return Backbone(
        model=model,
        tokenizer=tokenizer,
        template=conversations,
        name=source.name,
        fingerprint=fingerprint([type(model).__name__, tensors_fingerprint(model.named_parameters())]),
        capabilities=detect_capabilities(model, vocabulary_size=model.get_input_embeddings().num_embeddings),
        notes=notes,
    )


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
