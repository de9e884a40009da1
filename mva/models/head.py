"""Log-probs of single tokens from hidden states, a chunk of the vocabulary's rows at a time.

    log p_t = z_t[y_t] - logsumexp(z_t),   z_t = W h_t + b
    d log p_t / d h_t = (onehot(y_t) - softmax(z_t)) W

The head is frozen and each token has one log-prob: its slope is all that a backward pass needs. It is computed with the
log-prob, so that the logits of a chunk are gone before those of the next one are made, and nothing is computed twice.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

LOGITS = 2**25  # of one chunk: 128 MiB in float32


def token_log_probs(head: nn.Module, hidden: Tensor, tokens: Tensor) -> Tensor:
    """Compute each position's log-prob of its token; the log-softmax in float32 (float64 stays).

    A head that is no frozen linear layer is run as a whole, and leaves its logits to the backward pass.

    Shape: `hidden` is `(n, d)`, `tokens` and the result are `(n,)`.
    """
    if type(head) is nn.Linear and not head.weight.requires_grad:
        return _TokenLogProbs.apply(hidden.contiguous(), head.weight, head.bias, tokens)
    return log_probs_of(head(hidden), tokens)


def log_probs_of(logits: Tensor, tokens: Tensor) -> Tensor:
    """Pick the tokens' log-probs, in float32 or float64. Shape: `(n, vocabulary)` and `(n,)` to `(n,)`."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.gather(-1, tokens[:, None]).squeeze(-1) - logits.logsumexp(-1)


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor) -> Tensor:
        log_probs: list[Tensor] = []
        slopes: list[Tensor] = []
        for some, chosen in zip(*(x.split(max(1, LOGITS // len(weight))) for x in (hidden, tokens)), strict=True):
            logits = linear(some, weight, bias)
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            normaliser = logits.logsumexp(-1, keepdim=True)
            log_probs.append((logits.gather(-1, chosen[:, None]) - normaliser).squeeze(-1))
            if ctx.needs_input_grad[0]:
                slope = logits.sub_(normaliser).exp_().neg_()
                slope.scatter_add_(-1, chosen[:, None], torch.ones_like(normaliser))
                slopes.append(slope.to(weight.dtype) @ weight)
        if slopes:
            ctx.save_for_backward(torch.cat(slopes).to(hidden.dtype))
        return torch.cat(log_probs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return gradient[:, None].to(slopes.dtype) * slopes, None, None, None
