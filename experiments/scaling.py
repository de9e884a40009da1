"""Formulas of the time and memory of training and exploring at any size; docs/scaling.md's tables come from them.

A Llama-like model, frozen, with LoRA. Floating-point operations (a product of m x k and k x n counts 2 m k n):

    training step     4 P_blocks T + 6 P_lora T + 4 P_head T_scored + 6 w S       forward 2, backward 2: the frozen base
    reference pass    2 P_blocks T + 2 P_head T_scored + 2 w S                    has no gradient of its weights
    a spoken token    2 (P_blocks + n P_lora + P_head) + 2 w c                    n values, c tokens of context

T tokens, of which T_scored belong to responses; S pairs of a token and one it sees; w = 2 x layers x heads x head size.
Bytes of a training:

    weights + 16 P_lora + activations + one chunk of logits (float32: at most 128 MiB, twice)

`tests/benchmarks/test_scaling.py` holds time and memory within 25 % against measured runs of three sizes on a CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from transformers import PreTrainedConfig

from mva.data.tokenization import TokenizedPair
from mva.models.head import LOGITS

Dtype = Literal["float32", "bfloat16", "nf4"]
BYTES = {"float32": 4.0, "bfloat16": 2.0, "nf4": 2.0}
"""Of a number that is computed with."""
PACKED = 0.5 + 4 / 64
"""Bytes of a weight in NF4: four bits, and a float32 scale for 64 of them."""
OPTIMIZER = 16
"""Bytes of an adapter's number, all float32: weight, gradient, Adam's two moments."""


@dataclass(frozen=True)
class Tokens:
    """What a pass reads: all tokens (prompts once a pair), those of responses, and pairs of a token and one it sees."""

    count: int
    scored: int
    seen: float
    repeated: int
    """Tokens whose keys and values are copied for the second response: its prompt's and its own."""

    @classmethod
    def of(cls, pairs: Sequence[TokenizedPair]) -> Self:
        """Count the tokens of pairs."""
        parts = [(len(pair.prompt), len(pair.chosen), len(pair.rejected)) for pair in pairs]
        return cls(
            count=sum(map(sum, parts)),
            scored=sum(chosen + rejected for _, chosen, rejected in parts),
            seen=sum(p * p / 2 + p * (c + r) + (c * c + r * r) / 2 for p, c, r in parts),
            repeated=sum(p + r for p, _, r in parts),
        )

    @classmethod
    def alike(cls, n_pairs: int, prompt: int, response: int) -> Self:
        """Count the tokens of pairs of equal lengths."""
        answer = (0,) * response
        return cls.of([TokenizedPair((0,) * prompt, answer, answer)] * n_pairs)


@dataclass(frozen=True)
class Shapes:
    """The sizes of a model, and of the adapters on its attention or on all linear layers of its blocks."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    rank: int
    targets: Literal["attention", "all-linear"] = "attention"

    @classmethod
    def of(cls, config: PreTrainedConfig, *, rank: int, targets: Literal["attention", "all-linear"]) -> Self:
        """Read the sizes of a Llama's configuration."""
        return cls(
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.vocab_size,
            bool(config.tie_word_embeddings),
            rank,
            targets,
        )

    @property
    def attention(self) -> list[tuple[int, int]]:
        """The projections of an attention block, as (in, out)."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return [(self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden)]

    @property
    def feed_forward(self) -> list[tuple[int, int]]:
        """The projections of a feed-forward block, as (in, out)."""
        return [(self.hidden, self.intermediate)] * 2 + [(self.intermediate, self.hidden)]

    @property
    def blocks(self) -> int:
        """Weights in the blocks' products."""
        return self.layers * sum(d_in * d_out for d_in, d_out in self.attention + self.feed_forward)

    @property
    def head(self) -> int:
        """Weights of the output head."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All weights of the base."""
        norms = (2 * self.layers + 1) * self.hidden
        return self.blocks + norms + self.head * (1 if self.tied else 2)

    @property
    def lora(self) -> int:
        """Numbers of one vector's adapters."""
        adapted = self.attention + (self.feed_forward if self.targets == "all-linear" else [])
        return self.layers * self.rank * sum(d_in + d_out for d_in, d_out in adapted)

    @property
    def width(self) -> int:
        """Operations of attention for a token and one that it sees, in a forward pass, halved."""
        return 2 * self.layers * self.heads * self.head_dim

    def training_flops(self, tokens: Tokens, *, checkpointing: bool = False) -> float:
        """Operations of a training step; with checkpointing the blocks run forward once more."""
        again = 2 * self.blocks * tokens.count + 2 * self.width * tokens.seen if checkpointing else 0
        products = 4 * self.blocks * tokens.count + 6 * self.lora * tokens.count + 4 * self.head * tokens.scored
        return products + 6 * self.width * tokens.seen + again

    def reference_flops(self, tokens: Tokens) -> float:
        """Operations of the reference policy's log-probs."""
        return 2 * self.blocks * tokens.count + 2 * self.head * tokens.scored + 2 * self.width * tokens.seen

    def spoken_flops(self, n_values: int, context: float) -> float:
        """Operations of one more token of a response, `context` tokens after its beginning."""
        return 2 * (self.blocks + n_values * self.lora + self.head) + 2 * self.width * context

    def weight_bytes(self, dtype: Dtype) -> float:
        """Bytes of the base; NF4 packs the blocks alone."""
        if dtype == "nf4":
            return PACKED * self.blocks + BYTES[dtype] * (self.parameters - self.blocks)
        return BYTES[dtype] * self.parameters

    def block_bytes(self, tokens: Tokens, dtype: Dtype) -> float:
        """Bytes that one block keeps for its backward pass.

        Two norms' inputs (in float32), the adapters' input, queries, keys and values for every head and once more for
        the second responses, attention's output and its copy in order, three inner activations of the feed-forward
        block; with adapters there their inputs, too.
        """
        inner = self.heads * self.head_dim
        saved_activations = (self.hidden + 5 * inner + 3 * self.intermediate + 4 * self.rank) * tokens.count
        saved_activations += 2 * inner * tokens.repeated
        if self.targets == "all-linear":
            saved_activations += (self.hidden + self.intermediate + 3 * self.rank) * tokens.count
        return BYTES[dtype] * saved_activations + 4 * 2 * self.hidden * tokens.count

    def activation_bytes(self, tokens: Tokens, dtype: Dtype, *, checkpointing: bool = False) -> float:
        """Bytes of the activations of what is computed at once; with checkpointing a block's input, and one block."""
        block = self.block_bytes(tokens, dtype)
        inputs = BYTES[dtype] * self.hidden * tokens.count
        return self.layers * inputs + block if checkpointing else self.layers * block

    def logit_bytes(self, tokens: Tokens) -> float:
        """Bytes of a chunk of logits and of a copy of it, in float32."""
        return 2 * 4 * min(LOGITS, tokens.scored * self.vocabulary)

    def training_bytes(self, tokens: Tokens, dtype: Dtype, *, checkpointing: bool = False) -> float:
        """Bytes of a training that computes `tokens` at once."""
        activations = self.activation_bytes(tokens, dtype, checkpointing=checkpointing)
        return self.weight_bytes(dtype) + OPTIMIZER * self.lora + activations + self.logit_bytes(tokens)

    def cache_bytes(self, dtype: Dtype) -> float:
        """Bytes of keys and values of a token of a response under way."""
        return BYTES[dtype] * 2 * self.layers * self.kv_heads * self.head_dim

    def exploring_bytes(self, rows: int, context: int, n_values: int, dtype: Dtype) -> float:
        """Bytes of exploring with `rows` responses at once: base, vectors, keys and values."""
        vectors = BYTES[dtype] * n_values * self.lora
        return self.weight_bytes(dtype) + vectors + rows * context * self.cache_bytes(dtype)


def llama(layers: int, hidden: int, intermediate: int, heads: int, kv_heads: int, **more: int) -> Shapes:
    """Make the shapes of a published Llama, with adapters of rank 64 on its attention, as in the paper."""
    vocabulary, tied = more.get("vocabulary", 32_000), bool(more.get("tied"))
    return Shapes(layers, hidden, intermediate, heads, kv_heads, hidden // heads, vocabulary, tied, rank=64)


SEVEN_BILLION = llama(32, 4096, 11008, 32, 32)
