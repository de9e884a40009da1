"""How benchmarks measure: CPU seconds of turns in one process, what a process of its own spends, and a training step.

CPU seconds on one thread count what the work takes, whatever else the machine does; sides that take turns meet the same
caches and clock rates.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoModelForCausalLM, LlamaConfig

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.data.batched import tokenize_pairs
from mva.data.preference import PreferencePair
from mva.data.template import Template
from mva.data.tokenization import TokenizedPair, TokenLimits
from mva.models.attention import take_packed_rows
from mva.models.backbone import Backbone
from mva.models.log_probs import detect_capabilities, make_batch, micro_batches, sequence_log_probs
from mva.models.lora import LoraSpec, attach
from mva.models.sources.tiny_random import byte_tokenizer

RANK = 16
_MARK = "spent:"
_SAY = f"""
import atexit, json, os, time
def say_what_was_spent():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = 1024 * int(status["VmHWM"].split()[0])
    print("{_MARK}" + json.dumps({{"cpu_seconds": time.process_time(), "peak_bytes": peak}}), flush=True)
atexit.register(say_what_was_spent)
"""


@dataclass(frozen=True)
class Spent:
    """What a process took, from its start: CPU seconds, seconds by the clock, most bytes in memory; what it printed."""

    cpu_seconds: float
    seconds: float
    peak_bytes: int
    printed: str


def medians(turns: int, **functions: Callable[[int], object]) -> dict[str, float]:
    """Return the median CPU seconds of each function over `turns`, on one thread; the first of the turns warms up."""
    torch.set_num_threads(1)
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            start = time.process_time()
            function(turn)
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}


def spent(code: str, *words: str, folder: Path) -> Spent:
    """Run Python code as a process of its own on one thread, with `words` as its arguments, in `folder`.

    The code may call `say_what_was_spent()` itself before it leaves by `os._exit`.

    Raises:
        ChildProcessError: If it fails; with the end of what it said.
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _SAY + code, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    lines = [line.removeprefix(_MARK) for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not lines:
        raise ChildProcessError(f"The measured process ended with {done.returncode}: {done.stderr[-2000:]}")
    record = json.loads(lines[-1])
    return Spent(record["cpu_seconds"], seconds, record["peak_bytes"], done.stdout)


def configuration(*words: str) -> DictConfig:
    """Compose the configuration that a command with these words has."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=list(words))


def drawn_pairs(config: DictConfig, *, count: int) -> list[PreferencePair]:
    """Draw training pairs of the value `helpful`, the same ones each time."""
    source = assemble.build(config.data["values"]["helpful"])
    pairs = [pair for row in source.train.rows() for pair in source.format.pairs(row)]
    return random.Random(0).sample(pairs, count)


def adapted(config: DictConfig, dtype: Literal["float32", "bfloat16"]) -> tuple[Backbone, PeftModel]:
    """Load the model of a configuration with a fresh adapter, which computes as in training."""
    settings = assemble.build(config.model)
    backbone = type(settings)(settings.source, dtype=dtype, device="cpu").load()
    return backbone, with_adapter(backbone)


def backbone_of(config: LlamaConfig) -> Backbone:
    """Make a backbone of a configuration, with random weights."""
    tokenizer = byte_tokenizer()
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    take_packed_rows(model)
    able = detect_capabilities(model, vocabulary_size=config.vocab_size)
    return Backbone(model, tokenizer, Template(tokenizer), "random", "random", able)


def with_adapter(backbone: Backbone) -> PeftModel:
    """Attach a fresh adapter, which computes as in training."""
    model = attach(backbone, LoraSpec(rank=RANK), name="default", seed=0)
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.cast_input_dtype_enabled = backbone.model.dtype == torch.float32
    return model


def tokens_of(backbone: Backbone, pairs: Sequence[PreferencePair]) -> list[TokenizedPair]:
    """Tokenise pairs under the limits of `data=hh`."""
    return tokenize_pairs(pairs, backbone.template, TokenLimits(prompt=256, response=128))


def row(pair: TokenizedPair) -> int:
    """Count the tokens of a pair, its prompt once."""
    return len(pair.prompt) + len(pair.chosen) + len(pair.rejected)


def step(
    backbone: Backbone, model: torch.nn.Module, pairs: Sequence[TokenizedPair], *, tokens: int | None = None
) -> None:
    """Compute loss and gradient of a DPO step whose reference log-probs are known, as training does."""
    able = backbone.capabilities
    model.zero_grad()
    with torch.autocast("cpu", enabled=backbone.model.dtype == torch.bfloat16):
        for places in micro_batches(pairs, tokens=tokens or backbone.token_budget, capabilities=able):
            batch = make_batch([pairs[k] for k in places], pad_id=0, capabilities=able)
            chosen, rejected = sequence_log_probs(model, batch, split_head=able.split_head)
            losses = torch.nn.functional.softplus(0.1 * (rejected - chosen))
            (losses.sum() / len(pairs)).backward()


def product(rows: int, d_in: int, d_out: int, dtype: torch.dtype, *, repeats: int) -> tuple[Callable[[int], None], int]:
    """Make a matrix product to hold a step against; returns it, and the floating-point operations of a call."""
    x, w = torch.randn(rows, d_in, dtype=dtype), torch.randn(d_out, d_in, dtype=dtype)

    def multiply(_turn: int) -> None:
        for _ in range(repeats):
            torch.nn.functional.linear(x, w)

    return multiply, 2 * repeats * rows * d_in * d_out
