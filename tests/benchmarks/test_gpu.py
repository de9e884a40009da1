"""Training steps at the size of real models on one GPU: `make benchmark-gpu` prints their figures.

Random weights of Llama's shapes in bfloat16, LoRA of rank 64 on the attention, texts of 1,024 tokens. Without a GPU the
same code runs on a tiny shape, so that it is known to run; its figures say nothing, and no bound is looked at.
"""

import random
import time
from dataclasses import dataclass
from importlib.util import find_spec

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, LlamaConfig
from trl import DPOConfig, DPOTrainer

from mva.data.tokenization import TokenizedPair
from mva.models.backbone import load_backbone
from mva.models.blocks import activations_recomputed
from mva.models.log_probs import make_batch, micro_batches, sequence_log_probs
from mva.models.lora import LoraSpec, attach, detach
from mva.models.quantization import _THERE as BITSANDBYTES
from mva.models.sources.base import Loaded
from mva.models.sources.tiny_random import byte_tokenizer

SHAPES = {
    "1B": {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
           "intermediate_size": 8192, "vocab_size": 128_256},
    "7B": {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
           "intermediate_size": 11_008, "vocab_size": 32_000},
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
             "intermediate_size": 128, "vocab_size": 512},
}  # fmt: skip
GB = 1e9
THERE = torch.cuda.is_available()
pytestmark = pytest.mark.filterwarnings("ignore")


def on_gpu(*shapes):
    """The shapes on a GPU, and the tiny one on the CPU."""
    gpu = [pytest.mark.gpu, pytest.mark.skipif(not THERE, reason="no GPU that torch can use")]
    return [pytest.param(shape, "cuda", id=shape, marks=gpu) for shape in shapes] + [
        pytest.param("tiny", "cpu", id="dry run")
    ]


@dataclass(frozen=True)
class RandomLlama:
    """A Llama of a shape, whose weights are drawn on the device."""

    shape: str
    name: str = "random-llama"

    def tokenizer(self):
        return byte_tokenizer()

    def load(self, dtype):
        return self.load_onto(dtype, torch.device("cpu"))

    def load_onto(self, dtype, device):
        config = LlamaConfig(**SHAPES[self.shape], max_position_embeddings=4096, pad_token_id=0)
        with torch.device(device):
            return Loaded(AutoModelForCausalLM.from_config(config, dtype=dtype), self.tokenizer())


def adapted(shape, device, **options):
    backbone = load_backbone(RandomLlama(shape), dtype="bfloat16", device=device, **options)
    return backbone, attach(backbone, LoraSpec(rank=64, alpha=128), name="default", seed=0)


def pairs_of(count, device):
    """Pairs whose texts have 1,024 tokens each, half of them the prompt's."""
    half = 512 if device == "cuda" else 16
    draw = random.Random(0)
    return [TokenizedPair(*(tuple(draw.choices(range(3, 200), k=half)) for _ in range(3))) for _ in range(count)]


def step(backbone, model, pairs, *, recomputed=False):
    model.zero_grad()
    with (
        torch.autocast(backbone.device.type, dtype=torch.bfloat16),
        activations_recomputed(backbone.model, active=recomputed),
    ):
        for places in micro_batches(pairs, tokens=backbone.token_budget, capabilities=backbone.capabilities):
            batch = make_batch([pairs[k] for k in places], pad_id=0, capabilities=backbone.capabilities)
            chosen, rejected = sequence_log_probs(model, batch.to(backbone.device), split_head=True)
            (torch.nn.functional.softplus(0.1 * (rejected - chosen)).sum() / len(pairs)).backward()


def seconds(work, device, *, turns=5):
    """The median time of `work`, the device's own included, after two turns that warm up."""
    taken = []
    for _ in range(turns + 2):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return sorted(taken[2:])[turns // 2]


def peak(work, device):
    """The most GPU memory that `work` takes, in bytes; 0 without a GPU."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated() if device == "cuda" else 0


def said(what):
    print(f"\n{torch.cuda.get_device_name() if THERE else 'CPU, tiny, dry run'}: {what}")


def gradient_norm(model):
    return sum(parameter.grad.square().sum() for parameter in model.parameters() if parameter.grad is not None).sqrt()


def flops(backbone, pairs):
    """What the base's matrix products of a step need, forward and backward of the activations."""
    base = sum(
        p.numel()
        for name, p in backbone.model.named_parameters()
        if p.ndim == 2 and "lora_" not in name and "embed" not in name and "lm_head" not in name
    )
    head = backbone.model.get_output_embeddings().weight.numel()
    tokens = sum(len(p.prompt) + len(p.chosen) + len(p.rejected) for p in pairs)
    return 4 * base * tokens + 4 * head * sum(len(p.chosen) + len(p.rejected) for p in pairs)


@pytest.mark.parametrize(("shape", "device"), on_gpu("1B", "7B"))
def test_share_of_the_matrix_product_and_of_the_host(shape, device):
    backbone, model = adapted(shape, device)
    pairs = pairs_of(4, device)
    width = SHAPES[shape]["hidden_size"]
    x, w = (torch.randn(n, width, dtype=torch.bfloat16, device=device) for n in (backbone.token_budget, 4 * width))
    product = 2 * len(x) * width * len(w) / seconds(lambda: torch.nn.functional.linear(x, w), device, turns=21)
    taken = seconds(lambda: step(backbone, model, pairs), device)
    assert gradient_norm(model) > 0
    activities = [ProfilerActivity.CUDA] if device == "cuda" else [ProfilerActivity.CPU]
    with profile(activities=activities) as profiled:
        start = time.perf_counter()
        step(backbone, model, pairs)
        if device == "cuda":
            torch.cuda.synchronize()
        wall = time.perf_counter() - start
    busy = sum(event.self_device_time_total for event in profiled.key_averages()) / 1e6
    detach(model)
    said(
        f"{shape}, 4 pairs: {taken:.3f} s a step, {flops(backbone, pairs) / taken / product:.0%} of the matrix product, "
        f"{max(0.0, 1 - busy / wall):.0%} of the time the device waits"
    )
    if device == "cuda":
        assert busy > 0.95 * wall


@pytest.mark.parametrize(("shape", "device"), on_gpu("7B"))
def test_memory_of_sixteen_pairs(shape, device):
    backbone, model = adapted(shape, device)
    pairs = pairs_of(16, device)
    used = peak(lambda: step(backbone, model, pairs, recomputed=True), device)
    detach(model)
    said(f"{shape}, 16 pairs of 1,024 tokens: {used / GB:.1f} GB")
    assert used < 80 * GB


@pytest.mark.skipif(not BITSANDBYTES, reason="no bitsandbytes")
@pytest.mark.parametrize(("shape", "device"), on_gpu("7B"))
def test_memory_of_two_pairs_on_a_packed_base(shape, device):
    backbone, model = adapted(shape, device, quantization="nf4")
    pairs = pairs_of(2, device)
    used = peak(lambda: step(backbone, model, pairs, recomputed=True), device)
    assert gradient_norm(model) > 0
    detach(model)
    said(f"{shape}, nf4, 2 pairs of 1,024 tokens: {used / GB:.1f} GB")
    assert used < 24 * GB


def trl_step(backbone, folder, pairs, device):
    """A step of TRL's trainer on texts of the same lengths, with liger's kernels where they are installed."""
    decode = backbone.tokenizer.decode
    rows = [{name: decode(getattr(pair, name)) for name in ("prompt", "chosen", "rejected")} for pair in pairs]
    shape = LlamaConfig(**SHAPES["tiny" if device == "cpu" else "1B"], max_position_embeddings=4096, pad_token_id=0)
    with torch.device(device):
        other = AutoModelForCausalLM.from_config(shape, dtype=torch.bfloat16)
    options = {"bf16": device == "cuda", "use_cpu": device == "cpu", "report_to": "none", "max_length": None}
    if find_spec("liger_kernel") and device == "cuda":
        options["use_liger_kernel"] = True
    trainer = DPOTrainer(
        other,
        args=DPOConfig(str(folder), per_device_train_batch_size=len(pairs), **options),
        train_dataset=Dataset.from_list(rows),
        processing_class=backbone.tokenizer,
        peft_config=LoraConfig(
            r=64, lora_alpha=128, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM"
        ),
    )
    trainer.current_gradient_accumulation_steps = 1  # its loop would set it
    batch = trainer._prepare_inputs(trainer.data_collator([trainer.train_dataset[k] for k in range(len(pairs))]))

    def work():
        trainer.model.zero_grad()
        trainer.training_step(trainer.model, batch)

    return work


@pytest.mark.parametrize(("shape", "device"), on_gpu("1B"))
def test_a_step_beside_trl_s(shape, device, tmp_path):
    backbone, model = adapted(shape, device)
    pairs = pairs_of(4, device)
    theirs = seconds(trl_step(backbone, tmp_path, pairs, device), device)
    ours = seconds(lambda: step(backbone, model, pairs), device)
    detach(model)
    liger = "with" if find_spec("liger_kernel") else "without"
    said(f"{shape}, 4 pairs: TRL {liger} liger {theirs:.3f} s, mva {ours:.3f} s: {theirs / ours:.2f} times")
    if device == "cuda":
        assert theirs > ours
