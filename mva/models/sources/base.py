"""Where a backbone's weights come from."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ModelUnavailable(OSError):
    """The weights can't be had; the message says what to do."""


class Loaded(NamedTuple):
    """A causal language model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


class ModelSource(Protocol):
    """A plug-in that loads one pretrained (or random) causal language model.

    A source may also have `notes`, sentences that say how the model is made, for the user and the run's record.

    A source may also have a property `files`, the local files that decide the weights (asked for once they are loaded):
    the weights are then hashed once for these files, and not at every start.

    A source may also be a `LoadsOnto`, whose weights go straight to a device. Others are loaded, then moved.

    A source may also have a property `published` (`mva.models.sources.published.Published`): how others get the model,
    for exported adapters. Without it they are told to load it by this class.
    """

    @property
    def name(self) -> str:
        """What the model is called in reports and in exported adapters: a hub name or a path where there is one."""
        ...

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer alone, so that it can be checked before the weights are loaded.

        Raises:
            ModelUnavailable: If it can't be had.
        """
        ...

    def load(self, dtype: torch.dtype) -> Loaded:
        """Load model and tokenizer.

        Raises:
            ModelUnavailable: If the weights can't be had.
        """
        ...


@runtime_checkable
class LoadsOnto(Protocol):
    """A source that reads weights straight onto a device: the host never holds the whole of them."""

    def load_onto(self, dtype: torch.dtype, device: torch.device) -> Loaded:
        """Load the model onto `device`, and the tokenizer.

        Raises:
            ModelUnavailable: If the weights can't be had.
        """
        ...
