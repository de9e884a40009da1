"""A model of the hub, or of a local folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from mva.models.sources.base import Loaded, ModelUnavailable


@dataclass(frozen=True)
class Pretrained:
    """`path` is a hub name (`owner/name`) or a local folder in Hugging Face's layout; weights are safetensors only."""

    path: str
    revision: str | None = None

    @property
    def name(self) -> str:
        """The hub name or path."""
        return self.path

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer.

        Raises:
            ModelUnavailable: If it is neither local nor reachable.
        """
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        with self._explained():
            return AutoTokenizer.from_pretrained(self._place, revision=self.revision)

    def load(self, dtype: torch.dtype) -> Loaded:
        """Load with transformers; code from the hub is never run.

        Raises:
            ModelUnavailable: If the model is neither local nor reachable, is gated, or has no safetensors.
        """
        with self._explained():
            model = AutoModelForCausalLM.from_pretrained(
                self._place, revision=self.revision, dtype=dtype, use_safetensors=True
            )
        return Loaded(model, self.tokenizer())

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
