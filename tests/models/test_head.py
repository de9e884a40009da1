"""Log-probs of tokens in chunks against the whole logits."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mva.models import head as head_module
from mva.models.head import log_probs_of, token_log_probs

N, D, VOCABULARY = 23, 8, 101


def problem(dtype=torch.float64, *, bias=False):
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(D, VOCABULARY, bias=bias, dtype=dtype).requires_grad_(False)
    for parameter in head.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    hidden = torch.randn(N, D, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(N, generator=generator)
    return head, hidden, torch.randint(VOCABULARY, (N,), generator=generator), weight


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("logits", [1, 5 * VOCABULARY, 10**9])
def test_values_and_gradients_are_those_of_the_whole_logits(monkeypatch, logits, bias):
    monkeypatch.setattr(head_module, "LOGITS", logits)
    head, hidden, tokens, weight = problem(bias=bias)
    expected = log_probs_of(head(hidden), tokens)
    (slope,) = torch.autograd.grad((expected * weight).sum(), hidden)
    found = token_log_probs(head, hidden, tokens)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), hidden)[0], slope, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_the_log_softmax_is_float32_and_gradients_are_autograd_s_own(dtype):
    head, hidden, tokens, weight = problem(dtype)
    expected = log_probs_of(head(hidden), tokens)
    (slope,) = torch.autograd.grad((expected * weight).sum(), hidden)
    found = token_log_probs(head, hidden, tokens)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    (gradient,) = torch.autograd.grad((found * weight).sum(), hidden)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient.float(), slope.float(), atol=0.1, rtol=0.03)


class Largest(TorchDispatchMode):
    """The largest tensor that any operation makes."""

    size = 0

    def __torch_dispatch__(self, operation, _types, arguments=(), settings=None):
        result = operation(*arguments, **(settings or {}))
        if isinstance(result, torch.Tensor):
            self.size = max(self.size, result.numel())
        return result


def test_no_more_logits_than_a_chunk_s_are_ever_alive_and_none_are_saved(monkeypatch):
    monkeypatch.setattr(head_module, "LOGITS", 10 * VOCABULARY)
    head, hidden, tokens, _ = problem()
    saved = []

    def keep(tensor):
        saved.append(tensor.numel())
        return tensor

    with Largest() as seen, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        token_log_probs(head, hidden, tokens).sum().backward()
    assert seen.size == 10 * VOCABULARY
    assert max(saved) == N * D


def test_a_head_that_is_trained_keeps_its_gradient():
    head, hidden, tokens, _ = problem()
    head.requires_grad_(True)
    token_log_probs(head, hidden, tokens).sum().backward()
    assert head.weight.grad.abs().sum() > 0


def test_nothing_to_score_is_nothing():
    head, hidden, tokens, _ = problem()
    assert token_log_probs(head, hidden[:0], tokens[:0]).shape == (0,)
