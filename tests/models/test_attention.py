"""Attention over packed rows against a dense mask, and a model that is told to read them."""

from functools import partial

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from mva.checks import BadSetting
from mva.data.packing import pack
from mva.data.tokenization import TokenizedPair
from mva.models.attention import _attend, by_segment, take_packed_rows
from mva.models.backbone import load_backbone
from mva.models.flex import flex_attend
from mva.models.log_probs import sequence_log_probs
from mva.models.sources.tiny_random import TinyRandom

LENGTHS = [[3, 2, 4], [1, 5, 1], [4, 1, 0], [2, 3, 2]]


def dense(lengths):
    """Who sees whom, as a matrix: `x` sees its own prompt and its own response, up to itself."""
    texts = [
        (k, 0 if part == 0 else part)
        for k, sizes in enumerate(lengths)
        for part, n in enumerate(sizes)
        for _ in range(n)
    ]
    return torch.tensor(
        [[i >= j and a[0] == b[0] and b[1] in (0, a[1]) for j, b in enumerate(texts)] for i, a in enumerate(texts)]
    )


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    n = sum(map(sum, LENGTHS))
    return [torch.randn(1, 2, n, 8, generator=generator, dtype=dtype).requires_grad_() for _ in range(3)]


def capped(query, key, value, *, mask, softcap):
    scores = softcap * torch.tanh(query @ key.mT * query.shape[-1] ** -0.5 / softcap)
    return scores.masked_fill(~mask, -torch.inf).softmax(-1) @ value


@pytest.mark.parametrize("softcap", [None, 0.5])
def test_every_text_sees_its_prompt_and_itself_and_so_do_the_gradients(softcap):
    mask = dense(LENGTHS)
    attend = partial(_attend, scale=None, dropout=0.0, softcap=softcap)
    whole = (
        partial(scaled_dot_product_attention, attn_mask=mask)
        if softcap is None
        else partial(capped, mask=mask, softcap=softcap)
    )
    outputs, gradients = [], []
    for compute in (lambda *three: by_segment(attend, three, LENGTHS), lambda *three: whole(*three).transpose(1, 2)):
        inputs = tensors()
        outputs.append(compute(*inputs))
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), inputs))
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-6 if softcap else 1e-12, rtol=0)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5 if softcap else 1e-12, rtol=0)


def test_scores_are_scaled_as_the_architecture_says():
    query, key, value = tensors()
    for scale in (0.1, 1.0):
        found = by_segment(partial(_attend, scale=scale, dropout=0.0, softcap=None), (query, key, value), LENGTHS)
        expected = scaled_dot_product_attention(query, key, value, attn_mask=dense(LENGTHS), scale=scale)
        torch.testing.assert_close(found, expected.transpose(1, 2))


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("softcap", [None, 0.5])
def test_flex_attention_sees_the_same(softcap):
    query, key, value = (x.detach() for x in tensors(torch.float32))
    lengths = torch.tensor(LENGTHS, dtype=torch.int32)[None, None]
    attend = partial(_attend, scale=0.3, dropout=0.0, softcap=softcap)
    expected = by_segment(attend, (query, *(x[:, :1].expand_as(query) for x in (key, value))), LENGTHS)
    found = flex_attend(query, key[:, :1], value[:, :1], lengths, scale=0.3, softcap=softcap)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kind", ["sdpa", "eager", "flex"])
@pytest.mark.parametrize("architecture", ["llama", "gemma", "gpt2"])
def test_every_attention_gives_the_same_log_probs_of_packed_rows(architecture, kind):
    found = {}
    for asked in ("auto", kind):
        model = TinyRandom(architecture).load(torch.float32)[0].eval()
        if (architecture, asked) == ("gemma", "sdpa"):
            with pytest.raises(BadSetting, match="attention is sdpa, which Gemma2ForCausalLM lacks: choose auto"):
                take_packed_rows(model, asked)
            return
        take_packed_rows(model, asked)
        assert model.config._attn_implementation.endswith(f"_{asked}")
        pairs = [TokenizedPair((5, 6, 7), (8, 9), (10,)), TokenizedPair((11,), (12,), (13, 14, 15))]
        found[asked] = torch.cat(sequence_log_probs(model, pack(pairs), split_head=False))
    torch.testing.assert_close(found[kind], found["auto"], atol=1e-4, rtol=0)


def test_flex_attention_is_refused_where_torch_does_not_train_through_it():
    with pytest.raises(BadSetting, match="attention is flex, which torch trains through on a GPU alone: choose auto"):
        load_backbone(TinyRandom("llama"), device="cpu", attention="flex")
    assert load_backbone(TinyRandom("llama"), device="cpu", attention="eager").capabilities.packed


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["llama", "gemma", "gpt2"])
def test_with_any_other_mask_a_model_is_bit_for_bit_what_it_was(architecture):
    plain, told = (TinyRandom(architecture).load(torch.float32)[0].eval() for _ in range(2))
    take_packed_rows(told)
    take_packed_rows(told)  # it may be told twice
    ids = torch.arange(3, 23).view(2, 10)
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    assert torch.equal(plain(ids, attention_mask=mask).logits, told(ids, attention_mask=mask).logits)
    assert torch.equal(plain(ids).logits, told(ids).logits)
