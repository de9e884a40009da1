"""Tiny random models of several architectures, built in memory: for tests, smoke runs and debugging."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from mva.checks import Bounds, Seed, check
from mva.models.sources.base import Loaded
from mva.models.sources.published import Published, loading_code

_BYTES = pre_tokenizers.ByteLevel.alphabet()
_SPECIALS = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
Architecture = Literal[
    "llama", "gpt2", "gpt_neox", "opt", "qwen", "gemma", "mistral",
    "llama3", "qwen3", "gemma3", "phi3", "olmo2", "smollm3",
]  # fmt: skip
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
# Llama 3.1's scaling of long positions; on these few it acts on the slowest frequencies alone.
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}


@dataclass(frozen=True)
class TinyRandom:
    """A model with random weights and a byte-level tokenizer; the same seed gives the same weights."""

    architecture: Architecture = "llama"
    hidden_size: Annotated[int, Bounds(8, 8192)] = 64
    layers: Annotated[int, Bounds(1, 256)] = 2
    heads: Annotated[int, Bounds(1, 256)] = 4
    positions: Annotated[int, Bounds(1, 1_000_000)] = 1024
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    @property
    def name(self) -> str:
        """The architecture, as `tiny-<architecture>`."""
        return f"tiny-{self.architecture}"

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Build the tokenizer."""
        return byte_tokenizer()

    @property
    def published(self) -> Published:
        """Nowhere: the weights are made from the seed."""
        return Published(None, code=loading_code(self), note="The base is a tiny model with random weights.")

    def load(self, dtype: torch.dtype) -> Loaded:
        """Build model and tokenizer."""
        tokenizer = self.tokenizer()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = AutoModelForCausalLM.from_config(self._config(tokenizer), dtype=dtype)
        return Loaded(model, tokenizer)

    def _config(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        h, n, k, p = self.hidden_size, self.layers, self.heads, self.positions
        shared = {
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            # At this width, wider weights keep the random model's next tokens from being all the same.
            "initializer_range": 0.1,
        }
        usual = {"hidden_size": h, "num_hidden_layers": n, "num_attention_heads": k, "max_position_embeddings": p}
        grouped = {**shared, **usual, "num_key_value_heads": max(1, k // 2), "intermediate_size": 2 * h}
        configs = {
            "llama": lambda: LlamaConfig(**grouped),
            "qwen": lambda: Qwen2Config(**grouped),
            "mistral": lambda: MistralConfig(**grouped),
            "gemma": lambda: Gemma2Config(**grouped, head_dim=h // k, query_pre_attn_scalar=h // k),
            "llama3": lambda: LlamaConfig(**grouped, rope_parameters=dict(_LLAMA3_ROPE)),
            "qwen3": lambda: Qwen3Config(**grouped, head_dim=h // k),
            "gemma3": lambda: Gemma3TextConfig(**grouped, head_dim=h // k, query_pre_attn_scalar=h // k),
            "phi3": lambda: Phi3Config(**grouped),
            "olmo2": lambda: Olmo2Config(**grouped),
            "smollm3": lambda: SmolLM3Config(**grouped),
            "gpt_neox": lambda: GPTNeoXConfig(**shared, **usual, intermediate_size=2 * h),
            "opt": lambda: OPTConfig(**shared, **usual, ffn_dim=2 * h, word_embed_proj_dim=h),
            "gpt2": lambda: GPT2Config(
                **shared, n_embd=h, n_layer=n, n_head=k, n_positions=p, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0
            ),
        }
        return configs[self.architecture]()


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of one token per byte, with a ChatML template; every text survives encoding and decoding."""
    vocabulary = {token: index for index, token in enumerate([*_SPECIALS, *sorted(_BYTES)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        chat_template=_CHATML,
        clean_up_tokenization_spaces=False,
    )
