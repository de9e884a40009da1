"""A model of the hub, or of a local folder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import cached_file

from mva.checks import Place, Text, check
from mva.models.sources.base import Loaded, ModelUnavailable
from mva.models.sources.merged_adapter import adapter_config, merge_adapter
from mva.models.sources.published import Published, of_path

# What other tasks put on top of a model: a checkpoint that holds one of these was trained for something else.
_HEADS = ("lm_head", "embed_out", "score", "classifier", "v_head", "value_head", "reward_head", "qa_outputs")
_N_NAMES = 3


@dataclass(frozen=True)
class Pretrained:
    """`path` is a hub name (`owner/name`) or a local folder in Hugging Face's layout; weights are safetensors only.

    A PEFT LoRA adapter is merged into its base, in float32, before the precision is changed.
    """

    path: Place
    revision: Text | None = None

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    @property
    def name(self) -> str:
        """The hub name or path."""
        return self.path

    @property
    def notes(self) -> tuple[str, ...]:
        """Say which base an adapter is merged into."""
        if self._base is None:
            return ()
        note = f"{self.path} is a LoRA adapter: it is merged into its base, {self._base.name}, in float32."
        return (*self._base.notes, note)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer; a folder with an adapter and no tokenizer has its base's.

        Raises:
            ModelUnavailable: If it is neither local nor reachable.
        """
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        folder = Path(self._place)
        if folder.is_dir() and not (folder / "tokenizer_config.json").exists() and self._base is not None:
            return self._base.tokenizer()
        with self._explained():
            return AutoTokenizer.from_pretrained(self._place, revision=self.revision)

    @property
    def published(self) -> Published:
        """Where others find it: a hub name and revision, or the folder's absolute path; of an adapter, its base."""
        if Path(self.path).expanduser().is_dir() or self._base is None:
            return of_path(self.path, self.revision)
        below = self._base.published
        return replace(below, adapters=(*below.adapters, self.path))

    def load(self, dtype: torch.dtype) -> Loaded:
        """Load into the host's memory.

        Raises:
            ModelUnavailable: As `load_onto`.
        """
        return self.load_onto(dtype, torch.device("cpu"))

    def load_onto(self, dtype: torch.dtype, device: torch.device) -> Loaded:
        """Load with transformers; code from the hub is never run. Adapters are merged on the host, in float32.

        Raises:
            ModelUnavailable: If the model is neither local nor reachable, is gated, has no safetensors, lacks
                tensors, or is smaller than its tokenizer.
        """
        tokenizer, base = self.tokenizer(), self._base
        if base is not None:
            merged = merge_adapter(base.load(torch.float32).model, self._place, revision=self.revision)
            return Loaded(merged.to(dtype).to(device), tokenizer)
        self._check_size()
        with self._explained():
            model, loading = AutoModelForCausalLM.from_pretrained(
                self._place,
                revision=self.revision,
                dtype=dtype,
                device_map={"": device},
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        self._check_tensors(loading)
        return Loaded(model, tokenizer)

    @property
    def files(self) -> tuple[Path, ...]:
        """The local files that decide the weights, once they are loaded; none for an adapter, which has a base's, too.

        Raises:
            ModelUnavailable: If the model is neither local nor reachable.
        """
        if self._base is not None:
            return ()
        folder = Path(self._place)
        if not folder.is_dir():
            with self._explained():
                folder = Path(str(cached_file(self._place, "config.json", revision=self.revision))).parent
        return (folder / "config.json", *folder.glob("*.safetensors*"))

    @cached_property
    def _base(self) -> "Pretrained | None":
        with self._explained():
            config = adapter_config(self._place, revision=self.revision)
        return None if config is None else Pretrained(config["base_model_name_or_path"], config.get("revision"))

    def _check_size(self) -> None:
        with self._explained():
            config = AutoConfig.from_pretrained(self._place, revision=self.revision)
        rows, tokens = getattr(config.get_text_config(), "vocab_size", None), len(self.tokenizer())
        if isinstance(rows, int) and tokens > rows:
            raise ModelUnavailable(
                f"The tokenizer of '{self.path}' has {tokens} tokens, its embedding {rows} rows: resize the model's "
                "embeddings to the tokenizer and save both, or take the tokenizer that the model was trained with."
            )

    def _check_tensors(self, loading: Mapping[str, Any]) -> None:
        heads = [name for name in loading["unexpected_keys"] if set(name.split(".")) & set(_HEADS)]
        for names, fault in (
            (loading["missing_keys"], "lacks the tensors {}, which would be random"),
            (
                [name for name, *_ in loading.get("mismatched_keys", ())],
                "has tensors of another shape than the model's, {}",
            ),
            (heads, "holds a head of another task, {}"),
        ):
            if names:
                listed = ", ".join(sorted(map(str, names))[:_N_NAMES]) + (", ..." if len(names) > _N_NAMES else "")
                raise ModelUnavailable(
                    f"'{self.path}' {fault.format(listed)}: name the causal language model's own, whole checkpoint."
                )

    @property
    def _place(self) -> str:
        folder = Path(self.path).expanduser()
        if folder.is_dir() and not any(folder.glob("*.safetensors")):
            raise ModelUnavailable(f"{folder} holds no *.safetensors: save the model with save_pretrained first.")
        return str(folder) if folder.is_dir() else self.path

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ModelUnavailable:
            raise
        except (OSError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelUnavailable(
                f"The model '{self.path}' can't be loaded ({reason}): check the name, accept its "
                f"license and log in with `hf auth login` if it is gated, or download it where the hub can be reached "
                f"and set model=local model.source.path=<its folder>."
            ) from error
