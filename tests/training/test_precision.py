"""What is computed in which precision on a bfloat16 base."""

from dataclasses import replace

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from mva.estimators.correlation import Correlation
from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import TinyRandom
from mva.training import fit as fit_module
from mva.training.plan import Joint, Sequential
from mva.training.spec import ExecutionOptions


class Watch(Callback):
    """Keep the precision of what adapters put out, and of what the optimizer steps on."""

    def __init__(self):
        self.outputs, self.trained = set(), set()

    def on_train_start(self, _trainer, module):
        for name, part in module.named_modules():
            if name.endswith((".lora_A.helpful", ".lora_B.helpful")):
                part.register_forward_hook(lambda _part, _inputs, output: self.outputs.add(output.dtype))

    def on_before_optimizer_step(self, _trainer, _module, optimizer):
        tensors = [p for group in optimizer.param_groups for p in group["params"]]
        self.trained |= {t.dtype for p in tensors for t in (p, p.grad)}


@pytest.fixture
def watch(monkeypatch):
    watching, trainer = Watch(), fit_module.Trainer
    monkeypatch.setattr(fit_module, "Trainer", lambda **k: trainer(**{**k, "callbacks": [*k["callbacks"], watching]}))
    return watching


def on_base(fitter, dtype, **changes):
    return replace(fitter, backbone=load_backbone(TinyRandom("llama"), dtype=dtype, device="cpu"), **changes)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", "32-true"), ("bfloat16", "bf16-mixed"), ("float16", "16-mixed"), ("float64", "32-true")],
)
def test_auto_is_the_base_s_own_precision_and_a_choice_is_a_choice(dtype, expected):
    backbone = load_backbone(TinyRandom("llama"), dtype=dtype, device="cpu")
    assert ExecutionOptions().precision_on(backbone) == expected
    assert ExecutionOptions(precision="32-true").precision_on(backbone) == "32-true"


def test_adapters_of_a_bfloat16_base_compute_in_bfloat16_with_float32_weights(fitter, watch):
    vectors = Sequential().train(["helpful", "harmless"], on_base(fitter, "bfloat16"))
    assert watch.outputs == {torch.bfloat16}
    assert watch.trained == {torch.float32}
    assert all(f.a.dtype == f.b.dtype == torch.float32 for vector in vectors for f in vector.factors.values())


@pytest.mark.parametrize("plan", [Sequential(), Joint()], ids=["sequential", "joint"])
def test_they_learn_what_those_of_a_float32_base_learn(fitter, plan, monkeypatch):
    recipe, lora = replace(fitter.recipe, steps=20), replace(fitter.lora, dropout=0.0)
    products = set()
    matmul = nn.functional.linear
    exact = plan.train(["helpful", "harmless"], replace(fitter, recipe=recipe, lora=lora))
    monkeypatch.setattr(nn.functional, "linear", lambda x, *rest: products.add(x.dtype) or matmul(x, *rest))
    rounded = plan.train(["helpful", "harmless"], on_base(fitter, "bfloat16", recipe=recipe, lora=lora))
    for vector, other in zip(exact, rounded, strict=True):
        ours, theirs = (torch.cat([f.update().flatten() for f in v.factors.values()]) for v in (vector, other))
        assert torch.cosine_similarity(ours, theirs, dim=0) > 0.9
    assert torch.float32 not in products


@pytest.mark.parametrize("plan", [Sequential(), Joint()], ids=["sequential", "joint"])
def test_the_penalty_is_estimated_outside_of_mixed_precision(fitter, plan, monkeypatch):
    estimate, mixed = Correlation.__call__, []

    def watched(self, x, y):
        mixed.append(torch.is_autocast_enabled("cpu"))
        return estimate(self, x, y)

    monkeypatch.setattr(Correlation, "__call__", watched)
    plan.train(["helpful", "harmless"], on_base(fitter, "bfloat16"))
    assert mixed
    assert not any(mixed)
