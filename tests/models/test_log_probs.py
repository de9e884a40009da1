"""Log-probs of responses against numbers known by hand, and what is found out about architectures."""

import math
from functools import partial
from operator import attrgetter
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GPTNeoConfig, LlamaConfig, MistralConfig, Qwen3Config

from mva.data.packing import pack, pad
from mva.data.tokenization import TokenizedPair
from mva.models.log_probs import Capabilities, detect_capabilities, make_batch, sequence_log_probs

PLAIN = partial(pad, pad_id=0)
NEXT = torch.tensor([[1, 2, 5], [4, 2, 2], [6, 1, 1]], dtype=torch.float64) / 8  # P(column follows row)
PAIRS = [TokenizedPair((2, 0), (1, 2), (2,)), TokenizedPair((1,), (0,), (1, 1, 0))]
CHOSEN = [math.log(2 / 8) + math.log(2 / 8), math.log(4 / 8)]
REJECTED = [math.log(5 / 8), math.log(2 / 8) + math.log(2 / 8) + math.log(4 / 8)]


class Bigram(nn.Module):
    """A language model whose next token depends on the last one alone; it counts what its head is given."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.head = nn.Linear(3, 3, bias=False, dtype=dtype)
        self.head.weight.data = (NEXT.log().T + 7).to(dtype)  # logits are log-probs up to a constant
        self.seen = 0

    def get_decoder(self):
        return lambda input_ids, **_: SimpleNamespace(
            last_hidden_state=nn.functional.one_hot(input_ids, 3).to(self.head.weight.dtype)
        )

    def get_output_embeddings(self):
        return self.forward_head

    def forward_head(self, hidden):
        self.seen += hidden[..., 0].numel()
        return self.head(hidden)

    def forward(self, input_ids, **_):
        return SimpleNamespace(logits=self.forward_head(self.get_decoder()(input_ids).last_hidden_state))


@pytest.mark.parametrize("split_head", [True, False])
@pytest.mark.parametrize("layout", [pack, PLAIN])
def test_a_response_s_log_prob_is_the_sum_over_its_tokens(layout, split_head):
    chosen, rejected = sequence_log_probs(Bigram(), layout(PAIRS), split_head=split_head)
    torch.testing.assert_close(chosen, torch.tensor(CHOSEN, dtype=torch.float64))
    torch.testing.assert_close(rejected, torch.tensor(REJECTED, dtype=torch.float64))


@pytest.mark.parametrize("layout", [pack, PLAIN])
def test_a_split_head_runs_on_the_scored_positions_alone(layout):
    model, batch = Bigram(), layout(PAIRS)
    sequence_log_probs(model, batch, split_head=True)
    assert model.seen == 2 + 1 + 1 + 3
    sequence_log_probs(model, batch, split_head=False)
    assert model.seen == 7 + batch.input_ids.numel()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float64, torch.float64)],
)
def test_half_precision_is_summed_in_float32(dtype, expected):
    batch = pad([TokenizedPair((0,), (0,) * 400, (2,))], pad_id=0)
    (chosen,), _ = sequence_log_probs(Bigram(dtype), batch, split_head=True)
    logits = Bigram(dtype).head.weight[:, 0].double()
    assert chosen.dtype == expected
    assert chosen.item() == pytest.approx(400 * logits.log_softmax(0)[0].item(), rel=1e-5)  # bfloat16 keeps 2 digits


RESPONSES = attrgetter("chosen"), attrgetter("rejected")
SMALL = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "initializer_range": 0.3}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
WINDOWED = {
    "mistral": MistralConfig(**SMALL, **HEADS, sliding_window=32),
    "gemma3": Gemma3TextConfig(**SMALL, **HEADS, sliding_window=32, pad_token_id=0, bos_token_id=1, eos_token_id=2),
    "gpt_neo": GPTNeoConfig(
        vocab_size=97, hidden_size=32, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=2,
        window_size=32, initializer_range=0.3, bos_token_id=1, eos_token_id=2,
    ),
}  # fmt: skip


def build(config, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval().requires_grad_(False)


def random_pairs(prompt, response, n=2):
    generator = torch.Generator().manual_seed(1)

    def tokens(size):
        return tuple(torch.randint(97, (size,), generator=generator).tolist())

    return [TokenizedPair(tokens(prompt + i), tokens(response), tokens(response + 2 * i)) for i in range(n)]


def by_hand(model, prompt, response):
    table = model(torch.tensor([prompt + response])).logits[0].log_softmax(-1)
    return sum(table[len(prompt) - 1 + t, token] for t, token in enumerate(response))


@pytest.mark.parametrize("name", WINDOWED)
def test_rows_that_are_longer_than_the_attention_s_window_are_not_packed(name):
    model = build(WINDOWED[name])
    capabilities = detect_capabilities(model, vocabulary_size=97)
    told = name != "gpt_neo"  # its attention is not one that can be told what to do
    assert capabilities == Capabilities(packed=told, split_head=True, window=32, slots=told)
    for pairs, packed in ((random_pairs(10, 8), told), (random_pairs(40, 12), False)):
        batch = make_batch(pairs, pad_id=0, capabilities=capabilities)
        assert batch.packed is packed
        found = sequence_log_probs(model, batch, split_head=True)
        expected = [torch.stack([by_hand(model, p.prompt, r(p)) for p in pairs]) for r in RESPONSES]
        torch.testing.assert_close(list(found), expected, atol=1e-5, rtol=0)  # Gemma normalises in float32


def test_a_window_that_is_switched_off_is_none():
    model = build(Qwen3Config(**SMALL, **HEADS, sliding_window=32, use_sliding_window=False))
    capabilities = detect_capabilities(model, vocabulary_size=97)
    assert capabilities == Capabilities(packed=True, split_head=True, window=None, slots=True)


def test_what_can_not_be_packed_is_padded():
    pairs = random_pairs(3, 2)
    plain = make_batch(pairs, pad_id=0, capabilities=Capabilities(packed=False, split_head=True))
    assert torch.equal(plain.input_ids, pad(pairs, pad_id=0).input_ids)


class Around(nn.Module):
    """A model with something done to what goes in or comes out."""

    def __init__(self, model, before=lambda inputs: inputs, after=lambda logits: logits):
        super().__init__()
        self.inner, self.before, self.after = model, before, after
        self.get_decoder, self.get_output_embeddings = model.get_decoder, model.get_output_embeddings

    def forward(self, **inputs):
        output = self.inner(**self.before(inputs))
        output.logits = self.after(output.logits)
        return output


def without(name):
    return lambda inputs: {key: value for key, value in inputs.items() if key != name}


def refuse_4d(inputs):
    if inputs["attention_mask"].dim() == 4:
        raise ValueError("only masks of two dimensions")
    return inputs


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("around", "packed", "split_head"),
    [
        ({}, True, True),
        ({"before": without("attention_mask")}, False, True),
        ({"before": without("position_ids")}, False, True),
        ({"before": refuse_4d}, False, True),
        ({"after": lambda logits: 0.5 * logits}, True, False),
        ({"after": lambda logits: 2 * torch.tanh(logits / 2)}, True, False),
    ],
    ids=["plain", "ignores masks", "ignores positions", "refuses masks", "scales logits", "caps logits"],
)
def test_what_a_model_can_do_is_found_in_every_precision(dtype, around, packed, split_head):
    model = Around(build(LlamaConfig(**SMALL, **HEADS), dtype), **around)
    assert detect_capabilities(model, vocabulary_size=97) == Capabilities(packed, split_head, slots=packed)
