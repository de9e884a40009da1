"""Every path on every device that is there: `pytest -m gpu` runs what stands here on a GPU, and what it gives beside a CPU's."""

from dataclasses import replace

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from mva.composition.linear import Linear
from mva.counter_noise import combined, uniform
from mva.data.packing import pack, pad
from mva.data.tokenization import TokenizedPair
from mva.models import quantization
from mva.models.backbone import load_backbone
from mva.models.keyed_dropout import Dropout, dropping
from mva.models.log_probs import sequence_log_probs
from mva.models.lora import LoraSpec, attach, detach
from mva.models.sources.pretrained import Pretrained
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.policies.merged import MergedPolicy
from mva.policies.per_row import PerRowPolicy
from mva.training import fit as fit_module
from mva.training.plan import Joint, Sequential
from mva.training.task import Task

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
VALUES = ["helpful", "harmless"]
PAIRS = [
    TokenizedPair((5, 6, 7, 8), (9, 10, 11), (12, 13, 14, 15, 16)),
    TokenizedPair((20, 21), (22,), (23, 24)),
    TokenizedPair(tuple(range(30, 45)), (50, 51, 52, 53), (50, 51, 60)),
]
EXACT = {"atol": 1e-4, "rtol": 0}  # sums in another order


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])])
def device(request):
    return request.param


@pytest.fixture
def fresh(fitter, device):
    """Make fitters of their own stores on the device."""
    assert fitter.lora.dropout > 0

    def fresh(name, *, on=device, dtype="float32", quantized=None, **execution):
        backbone = load_backbone(TinyRandom("llama"), dtype=dtype, device=on, quantization=quantized)
        options = replace(fitter.execution, accelerator="cpu" if on == "cpu" else "gpu", **execution)
        store = Store(fitter.store.root.parent / name)
        return replace(fitter, backbone=backbone, execution=options, store=store, log=type(fitter.log)())

    return fresh


def assert_close(vectors, others, **tolerance):
    for vector, other in zip(vectors, others, strict=True):
        assert vector.norm() > 0.01
        for name, factor in vector.factors.items():
            torch.testing.assert_close(factor.update(), other.factors[name].update(), **tolerance)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma"])
def test_packed_rows_equal_padded_ones_gradients_and_dropout_included(architecture, device):
    backbone = load_backbone(TinyRandom(architecture), device=device)
    model = attach(backbone, LoraSpec(rank=4), name="helpful", seed=0)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for i, parameter in enumerate(trained):
        with torch.no_grad():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i)))
    found = []
    for batch in (pack(PAIRS).to(device), pad(PAIRS, pad_id=0).to(device)):
        with dropping(model, "helpful", Dropout(0.3, batch.token_keys(0))):
            chosen, rejected = sequence_log_probs(model, batch, split_head=backbone.capabilities.split_head)
        loss = torch.nn.functional.softplus(rejected - chosen).mean()
        found.append((chosen, rejected, *torch.autograd.grad(loss, trained)))
    detach(model)
    assert backbone.capabilities.packed
    torch.testing.assert_close(found[0], found[1], **EXACT)


@torch.no_grad()
def test_rows_with_coefficients_of_their_own_equal_merged_weights(device, vectors_of):
    backbone = load_backbone(TinyRandom("llama"), device=device)
    vectors = [replace(vector, base=backbone.fingerprint) for vector in vectors_of(backbone)]
    per_row, merged = (policy.build(backbone, vectors, Linear()) for policy in (PerRowPolicy(), MergedPolicy()))
    ids, coefficients = torch.arange(3, 35, device=device).view(2, 16), torch.tensor([[0.3, 0.0], [0.1, 0.2]])
    with per_row.rows(coefficients) as model:
        found = model(ids).logits
    for row in range(2):
        with merged.rows(coefficients[row : row + 1]) as model:
            torch.testing.assert_close(found[row : row + 1], model(ids[row : row + 1]).logits, atol=1e-3, rtol=1e-3)


class StopAt(Callback):
    def on_train_batch_end(self, _trainer, _module, _outputs, _batch, batch_idx):
        if batch_idx == 6:
            raise InterruptedError


def test_a_resumed_training_gives_the_unbroken_one_s_vector(fresh, monkeypatch):
    trainer, interrupted = fit_module.Trainer, fresh("resumed")
    with monkeypatch.context() as patch:
        patch.setattr(
            fit_module,
            "Trainer",
            lambda **options: trainer(**{**options, "callbacks": [*options["callbacks"], StopAt()]}),
        )
        with pytest.raises(InterruptedError):
            interrupted(Task("helpful"))
    assert list(interrupted.store.root.glob("unfinished/*/last.ckpt"))
    assert_close([interrupted(Task("helpful"))], [fresh("unbroken")(Task("helpful"))], **EXACT)


@pytest.mark.parametrize("plan", [Sequential(), Joint()], ids=["sequential", "joint"])
def test_vectors_are_those_of_a_cpu_however_a_step_is_computed(fresh, plan, device):
    """Dropout, penalty, micro-batches and recomputed activations included."""
    whole = plan.train(VALUES, fresh("cpu", on="cpu", tokens=100_000))
    cut = fresh("cut", tokens=20, checkpoint_activations=True)
    vectors = plan.train(VALUES, cut)
    assert cut.backbone.device.type == device, "the backbone stays where it was"
    assert [vector.key for vector in vectors] == [vector.key for vector in whole]
    assert_close(vectors, whole, atol=5e-4, rtol=0)


@pytest.mark.parametrize("kind", ["bfloat16", "nf4"])
def test_rounded_bases_learn_what_the_exact_one_learns(fresh, kind):
    if kind == "nf4" and not quantization._THERE:
        pytest.skip("no bitsandbytes")
    settings = {"dtype": "bfloat16", "quantized": "nf4" if kind == "nf4" else None}
    (rounded,) = Sequential().train(VALUES[:1], fresh(kind, **settings))
    (exact,) = Sequential().train(VALUES[:1], fresh("exact"))
    ours, theirs = (torch.cat([f.update().flatten() for f in v.factors.values()]) for v in (rounded, exact))
    assert torch.cosine_similarity(ours, theirs, dim=0) > (0.8 if kind == "bfloat16" else 0.5)


def test_random_numbers_are_the_same_on_every_device(device):
    keys = combined(torch.arange(100))
    assert torch.equal(uniform(keys.to(device), 1000).cpu(), uniform(keys, 1000))
    assert torch.equal(combined(5, torch.arange(100, device=device)).cpu(), combined(5, torch.arange(100)))
    x = torch.ones(1, 100, 64)
    dropped = Dropout(0.3, keys[None])(x, "module")
    assert torch.equal(Dropout(0.3, keys[None].to(device))(x.to(device), "module").cpu(), dropped)


def test_weights_are_read_onto_the_device_with_the_fingerprint_of_the_host(device, tmp_path):
    model, tokenizer = TinyRandom("llama", seed=3).load(torch.float32)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    there = load_backbone(Pretrained(str(tmp_path)), device=device)
    assert there.device.type == device
    assert there.fingerprint == load_backbone(Pretrained(str(tmp_path)), device="cpu").fingerprint
