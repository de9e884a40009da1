"""A training step on real pairs as ratios from one run, in turns: against the matrix product, and itself."""

from pathlib import Path

import pytest
import torch
from measuring import RANK, adapted, medians, product, row, step, tokens_of
from scaling import Shapes, Tokens

from mva.data.packing import pad
from mva.data.tokenization import TokenLimits
from mva.models.log_probs import sequence_log_probs
from mva.models.lora import detach
from mva.models.reference import reference_log_probs
from mva.models.store import Store
from mva.rewards.features import HiddenFeatures

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
BATCH, TURNS = 4, 3


def steps_of(pairs):
    return [pairs[k : k + BATCH] for k in range(0, 160, BATCH)]


def test_packed_rows_are_faster_than_padded_ones(hh, texts, record):
    backbone, model = adapted(hh, "float32")
    pairs = tokens_of(backbone, texts)
    steps = steps_of(pairs)
    real = sum(map(row, pairs[:160]))
    plain = sum(pad(batch, pad_id=0).input_ids.numel() for batch in steps)

    def padded(turn):
        chosen, rejected = sequence_log_probs(model, pad(steps[turn], pad_id=0), split_head=True)
        torch.nn.functional.softplus(0.1 * (rejected - chosen)).mean().backward()

    taken = medians(TURNS, padded=padded, packed=lambda turn: step(backbone, model, steps[turn]))
    detach(model)
    ratio = taken["padded"] / taken["packed"]
    record("layout", ratio, f"SmolLM2, 4 HH pairs; {1 - real / plain:.0%} of padded rows is padding or a prompt's copy")
    assert ratio > 1.5


def test_nothing_that_training_references_and_features_compute_is_padding(hh, texts, tmp_path, record):
    backbone, model = adapted(hh, "float32")
    pairs = tokens_of(backbone, texts[:48])
    computed = []
    embedding = backbone.model.get_input_embeddings()
    handle = embedding.register_forward_pre_hook(lambda _module, inputs: computed.append(inputs[0].numel()))

    def padding(needed, function):
        computed.clear()
        function()
        return 1 - needed / sum(computed)

    needed = sum(map(row, pairs))
    shares = {
        "training": padding(sum(map(row, pairs[:8])), lambda: [step(backbone, model, pairs[k : k + 4]) for k in (0, 4)])
    }
    detach(model)
    shares["references"] = padding(needed, lambda: reference_log_probs(backbone, pairs, Store(tmp_path)))
    features = HiddenFeatures(backbone, (0.5,), ("mean",), TokenLimits(prompt=256, response=128), batch_size=8)
    answers = [(pair.prompt, response) for pair in texts[:48] for response in (pair.chosen, pair.rejected)]
    shares["features"] = padding(needed, lambda: features(answers))
    handle.remove()
    worst = max(shares, key=shares.get)
    record(
        "padding", shares[worst], f"48 HH pairs: {', '.join(f'{name} {share:.1%}' for name, share in shares.items())}"
    )
    assert all(0 <= share < 0.1 for share in shares.values())


def test_micro_batches_take_no_longer_than_one_row(hh, texts, record):
    backbone, model = adapted(hh, "float32")
    pairs = tokens_of(backbone, texts)
    taken = medians(
        2,
        whole=lambda turn: step(backbone, model, pairs[16 * turn : 16 * turn + 16], tokens=100_000),
        cut=lambda turn: step(backbone, model, pairs[16 * turn : 16 * turn + 16]),
    )
    detach(model)
    ratio = taken["cut"] / taken["whole"]
    record("micro_batches", ratio, f"SmolLM2, 512 tokens at once: {taken['cut']:.1f} and {taken['whole']:.1f} CPU s")
    assert ratio < 1.15


def test_useful_share_of_the_matrix_product(hh, texts, record):
    backbone, model = adapted(hh, "float32")
    steps = steps_of(tokens_of(backbone, texts))
    multiply, operations = product(512, 576, 1536, torch.float32, repeats=200)
    shapes = Shapes.of(backbone.model.config, rank=RANK, targets="attention")
    done = sum(shapes.training_flops(Tokens.of(batch)) for batch in steps[1 : TURNS + 1]) / TURNS
    taken = medians(TURNS, product=multiply, step=lambda turn: step(backbone, model, steps[turn]))
    detach(model)
    reached, peak = done / taken["step"], operations / taken["product"]
    details = f"SmolLM2, 4 HH pairs: {reached / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s (512 x 576 x 1536)"
    record("flops_float32", reached / peak, details)
    assert reached > 0.25 * peak


def test_bfloat16_beside_float32(hh, texts, record):
    (exact, trained), (rounded, also) = adapted(hh, "float32"), adapted(hh, "bfloat16")
    steps = steps_of(tokens_of(exact, texts))
    multiply, _ = product(512, 576, 1536, torch.float32, repeats=100)
    multiply_rounded, _ = product(512, 576, 1536, torch.bfloat16, repeats=100)
    taken = medians(
        TURNS,
        float32=lambda turn: step(exact, trained, steps[turn]),
        bfloat16=lambda turn: step(rounded, also, steps[turn]),
        product=multiply,
        product_rounded=multiply_rounded,
    )
    ratio = taken["float32"] / taken["bfloat16"]
    products = taken["product"] / taken["product_rounded"]
    record("bfloat16", ratio, f"SmolLM2, 4 HH pairs; the matrix product is {products:.1f} x as fast in bfloat16 here")
    if torch.ops.mkldnn._is_mkldnn_bf16_supported() and "avx512_bf16" in Path("/proc/cpuinfo").read_text():
        assert ratio > 1
