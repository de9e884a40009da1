"""The transformer blocks of a model, and what is kept of their activations for the backward pass.

Hugging Face's switch for checkpointing acts on modules in training mode alone, and a frozen base is in none.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

run_again_within: ContextVar[Callable[[], AbstractContextManager[Any]]] = ContextVar("within", default=nullcontext)
"""Where a block has to be computed again: what hangs on its modules for the length of a forward pass sets this."""


def transformer_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Find the list of transformer blocks, in the order in which they run."""
    depth = model.config.get_text_config().num_hidden_layers
    return next(m for m in model.base_model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth)


@contextmanager
def activations_recomputed(model: PreTrainedModel, *, active: bool = True) -> Iterator[None]:
    """Inside the `with`, keep a block's input alone, and compute the block again for its backward pass.

    Gradients are the same, dropout included; a step takes about a third longer. Not `active`, it does nothing.
    """
    blocks = list(transformer_blocks(model)) if active else []
    for block in blocks:
        block.forward = _recomputed(block.forward)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def forward_again(*arguments: Any, **named: Any) -> Any:
        within = run_again_within.get()
        return checkpoint(
            forward, *arguments, use_reentrant=False, context_fn=lambda: (nullcontext(), within()), **named
        )

    return forward_again
