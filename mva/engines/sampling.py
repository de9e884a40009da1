"""Choosing next tokens: the argmax, or a sample that is a function of (seed, step) and the logits alone.

    token = argmax_t ( s_t / temperature + G_t ),    G_t = -log(-log u(seed, step, t)) standard Gumbel

which is a sample from softmax(s / temperature) (Gumbel-max). The noise of a token is a hash of (seed, step, token),
made where the logits are. A response depends neither on its batch nor on its neighbours, and requests of equal seeds
see common random numbers.

Only the `TOP` most probable tokens need noise. All others together count as one more token, whose probability is what
the top leaves of 1; where it wins, a second draw chooses among them. The distribution stays exactly that above.
"""

import torch
from torch import Tensor

from mva.counter_noise import combined, uniform
from mva.engines.base import Decoding

TOP = 64
NOISE = "gumbel by token"  # names the numbers of sampled responses in their address; another scheme needs another name


def choose(logits: Tensor, seeds: Tensor, steps: Tensor, decoding: Decoding) -> Tensor:
    """Choose each row's next token.

    Args:
        logits: `(rows, vocabulary)`; not finite ones give an arbitrary token.
        seeds: int64 `(rows,)`, those of the requests.
        steps: int64 `(rows,)`, how many tokens each response has.
        decoding: Temperature 0 takes the argmax.

    Returns:
        Ids, int64 `(rows,)`.
    """
    if decoding.temperature == 0:
        return logits.argmax(dim=-1)
    keys = combined(seeds, steps)
    scaled = logits.float() / decoding.temperature
    log_total = scaled.logsumexp(dim=-1, keepdim=True)
    top, ids = scaled.topk(min(TOP, scaled.shape[1]))
    mass = (top - log_total).exp().sum(dim=-1)
    if decoding.top_p == 1:
        return _with_tail(scaled, top, ids, log_total + torch.log1p(-mass.clamp(max=1))[:, None], keys)
    tokens = _in_nucleus(top, ids, log_total, keys, decoding.top_p)
    flat = mass < decoding.top_p  # the nucleus is larger than the top
    if bool(flat.any()):
        tokens[flat] = _in_nucleus(*scaled[flat].sort(descending=True), log_total[flat], keys[flat], decoding.top_p)
    return tokens


def finite(logits: Tensor) -> Tensor:
    """Say which rows are finite: the largest logit is NaN or infinite as soon as any that decides a token is.

    Shape: `(rows, vocabulary)` to `(rows,)`.
    """
    return torch.isfinite(logits.amax(dim=-1))


def _gumbel(keys: Tensor, ids: Tensor) -> Tensor:
    """Shape: `keys` `(rows,)`, `ids` and the result `(rows, n)`."""
    u = uniform(combined(keys[:, None], ids), 1)[..., 0]
    return -torch.log(-torch.log1p(-u))


def _with_tail(scaled: Tensor, top: Tensor, ids: Tensor, log_tail: Tensor, keys: Tensor) -> Tensor:
    vocabulary = scaled.shape[1]
    scores = torch.cat([top, log_tail], dim=1)
    places = torch.cat([ids, torch.full_like(ids[:, :1], vocabulary)], dim=1)
    winner = (scores + _gumbel(keys, places)).argmax(dim=-1, keepdim=True)
    tokens = places.gather(1, winner)[:, 0]
    tail = tokens == vocabulary
    if bool(tail.any()):
        others = scaled[tail].scatter(1, ids[tail], -torch.inf)
        every = torch.arange(vocabulary, device=scaled.device).expand_as(others)
        tokens[tail] = (others + _gumbel(keys[tail], every)).argmax(dim=-1)
    return tokens


def _in_nucleus(sorted_scores: Tensor, ids: Tensor, log_total: Tensor, keys: Tensor, top_p: float) -> Tensor:
    """Sample among the first tokens whose probabilities reach `top_p` together."""
    probabilities = (sorted_scores - log_total).exp()
    before = probabilities.cumsum(dim=-1) - probabilities
    outside = before >= top_p
    outside[:, 0] = False
    scores = sorted_scores.masked_fill(outside, -torch.inf) + _gumbel(keys, ids)
    return ids.gather(1, scores.argmax(dim=-1, keepdim=True))[:, 0]
