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

Hanging = Callable[[], AbstractContextManager[Any]]
_run_again_within: ContextVar[Hanging] = ContextVar("within", default=nullcontext)


def transformer_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Find the list of transformer blocks, in the order in which they run."""
    depth = model.config.get_text_config().num_hidden_layers
    return next(m for m in model.base_model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth)


@contextmanager
def hung_on(hang: Hanging) -> Iterator[None]:
    """Enter `hang()`, which hangs something on the model's modules, and enter it again where a block is computed again.

    A block that ran inside the `with` is computed again in its backward pass, which may come after the `with`.
    """
    before = _run_again_within.get()

    @contextmanager
    def both() -> Iterator[None]:
        with before(), hang():
            yield

    _run_again_within.set(both)
    try:
        with hang():
            yield
    finally:
        # Not by a token: a server steps through answers in several contexts, and a token knows its own alone.
        _run_again_within.set(before)


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
        within = _run_again_within.get()
        return checkpoint(
            forward, *arguments, use_reentrant=False, context_fn=lambda: (nullcontext(), within()), **named
        )

    return forward_again
