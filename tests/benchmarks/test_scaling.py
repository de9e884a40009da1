"""The formulas of docs/scaling.md beside measured runs of random Llamas of three sizes, on a CPU in float32."""

import json
from statistics import geometric_mean

import pytest
import torch
from measuring import RANK, backbone_of, medians, product, spent, step, with_adapter
from scaling import Shapes, Tokens
from transformers import LlamaConfig

from mva.data.tokenization import TokenizedPair
from mva.models.log_probs import make_batch, sequence_log_probs
from mva.models.lora import detach

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
WITHIN = 1.25
SIZES = {"19M": (512, 6), "59M": (768, 8), "135M": (1024, 11)}
TURNS = 3
TOKENS = tuple(range(100, 200))
PAIRS = [TokenizedPair(TOKENS[:96], TOKENS[:80], TOKENS[:80])] * 4


def settings_of(size):
    hidden, layers = SIZES[size]
    shapes = {"hidden_size": hidden, "intermediate_size": round(2.75 * hidden), "num_hidden_layers": layers}
    heads = {"num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 128}
    return {**shapes, **heads, "vocab_size": 8192, "tie_word_embeddings": True}


def shapes_of(size):
    return Shapes.of(LlamaConfig(**settings_of(size)), rank=RANK, targets="attention")


def furthest(ratios):
    """The largest of the ratios or of their inverses."""
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def seconds(size):
    """CPU seconds of a step, of a reference pass, and of the matrix product, by operation, of this size."""
    backbone, shapes = backbone_of(LlamaConfig(**settings_of(size))), shapes_of(size)
    batch = make_batch(PAIRS, pad_id=0, capabilities=backbone.capabilities)
    multiply, operations = product(512, shapes.hidden, shapes.intermediate, torch.float32, repeats=40)

    @torch.no_grad()
    def reference(_turn):
        sequence_log_probs(backbone.model, batch, split_head=True)

    model = with_adapter(backbone)
    taken = medians(TURNS, product=multiply, step=lambda _turn: step(backbone, model, PAIRS), reference=reference)
    detach(model)
    return taken["step"], taken["reference"], taken["product"] / operations


def test_time_follows_the_formulas(record):
    tokens, shares = Tokens.of(PAIRS), {}
    for size in SIZES:
        of_step, of_reference, an_operation = seconds(size)
        shares[size, "step"] = shapes_of(size).training_flops(tokens) * an_operation / of_step
        shares[size, "reference"] = shapes_of(size).reference_flops(tokens) * an_operation / of_reference
    common = geometric_mean(shares.values())
    words = ", ".join(f"{size} {kind} {share / common:.2f}" for (size, kind), share in shares.items())
    ratio = furthest(share / common for share in shares.values())
    record("scaling_time", ratio, f"measured against formula at {common:.0%} of the matrix product: {words}")
    assert ratio < WITHIN


# What tensors take: without this, glibc keeps freed pieces of a size that no later tensor has.
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
MEASURED = """
import json, sys
import torch
from transformers import LlamaConfig
from measuring import backbone_of, step, with_adapter
from mva.data.tokenization import TokenizedPair
from mva.models.blocks import activations_recomputed

torch.set_num_threads(1)
config, pairs = json.loads(sys.argv[1])
pairs = [TokenizedPair(*map(tuple, pair)) for pair in pairs]

def kilobytes(name):
    return int(dict(line.split(":", 1) for line in open("/proc/self/status"))[name].split()[0])

def peak(function):
    open("/proc/self/clear_refs", "w").write("5")
    function()
    return 1024 * (kilobytes("VmHWM") - before)

tiny = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
small = backbone_of(LlamaConfig(**{**config, **tiny, "num_key_value_heads": 1}))
step(small, with_adapter(small), pairs)
before = kilobytes("VmRSS")
backbone = backbone_of(LlamaConfig(**config))
model = with_adapter(backbone)
plain = peak(lambda: step(backbone, model, pairs, tokens=100_000))
with activations_recomputed(backbone.model):
    print("peaks:", plain, peak(lambda: step(backbone, model, pairs, tokens=100_000)))
"""


def test_memory_follows_the_formulas(tmp_path, record, monkeypatch):
    for name, setting in EXACT.items():
        monkeypatch.setenv(name, setting)
    tokens, ratios = Tokens.of(PAIRS), {}
    for size in SIZES:
        pairs = [[pair.prompt, pair.chosen, pair.rejected] for pair in PAIRS]
        done = spent(MEASURED, json.dumps([settings_of(size), pairs]), folder=tmp_path)
        peaks = map(int, done.printed.split("peaks:")[1].split()[:2])
        for measured, checkpointing in zip(peaks, (False, True), strict=True):
            formula = shapes_of(size).training_bytes(tokens, "float32", checkpointing=checkpointing)
            ratios[size, "checkpointing" if checkpointing else "step"] = measured / formula
    words = ", ".join(f"{size} {kind} {ratio:.2f}" for (size, kind), ratio in ratios.items())
    ratio = furthest(ratios.values())
    record("scaling_memory", ratio, f"peak of a process against the formula: {words}")
    assert ratio < WITHIN
