"""A base packed to NF4: read, trained on, spoken with row by row, and never merged into."""

from dataclasses import replace

import pytest
import torch

from mva.checks import BadSetting
from mva.models import quantization as quantization_module
from mva.models.backbone import ModelSettings, load_backbone
from mva.models.coefficient_lora import CoefficientLora
from mva.models.merge import merged, rounding_error
from mva.models.quantization import NotExact, is_quantized
from mva.models.reference import reference_log_probs
from mva.models.sources.tiny_random import TinyRandom
from mva.models.store import Store
from mva.training.plan import Chained, Joint, Sequential

needs_bitsandbytes = pytest.mark.skipif(not quantization_module._THERE, reason="no bitsandbytes")


def test_without_its_package_it_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(quantization_module, "_THERE", False)
    ModelSettings(TinyRandom())
    with pytest.raises(BadSetting, match=r"quantization is nf4, which needs the package bitsandbytes: pip install"):
        ModelSettings(TinyRandom(), quantization="nf4")


@pytest.fixture
def packed():
    return load_backbone(TinyRandom("llama"), device="cpu", quantization="nf4")


@pytest.fixture
def vectors(packed, vectors_of):
    """Random vectors of the shapes that the layers had before they were packed."""
    plain = load_backbone(TinyRandom("llama"), device="cpu")
    return [replace(vector, base=packed.fingerprint, key="k") for vector in vectors_of(plain)]


def bytes_of(backbone):
    return sum(p.nbytes for name, p in backbone.model.named_parameters() if "layers" in name)


@needs_bitsandbytes
def test_it_is_small_and_near_its_original_and_has_a_name_of_its_own(packed):
    plain = load_backbone(TinyRandom("llama"), device="cpu")
    assert is_quantized(packed.model)
    assert not is_quantized(plain.model)
    assert bytes_of(packed) < 0.15 * bytes_of(plain)
    assert packed.fingerprint != plain.fingerprint
    assert packed.capabilities == plain.capabilities
    ids = torch.arange(3, 40)[None]
    ours, theirs = packed.model(ids).logits, plain.model(ids).logits
    assert 0 < (ours - theirs).norm() < 0.5 * theirs.norm()


@needs_bitsandbytes
@pytest.mark.parametrize("plan", [Sequential(), Joint(), Chained()], ids=["sequential", "joint", "chained"])
def test_adapters_are_trained_on_it(fitter, packed, plan):
    before = {name: p.clone() for name, p in packed.model.named_parameters()}
    fitter = replace(fitter, backbone=packed, recipe=replace(fitter.recipe, steps=20))
    vectors = plan.train(["helpful", "harmless"], fitter)
    assert all(vector.norm() > 0 for vector in vectors)
    assert all(torch.equal(p, before[name]) for name, p in packed.model.named_parameters())
    losses = [m[name] for _, m in fitter.log.lines for name in m if name.endswith("preference_loss")]
    assert min(losses) < 0.6 < losses[0]


@needs_bitsandbytes
def test_its_vectors_speak_row_by_row_as_they_were_trained(packed, vectors):
    lora, ids = CoefficientLora(packed, vectors), torch.arange(3, 40).repeat(3, 1)
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    with lora.rows(rows):
        together = packed.model(ids).logits
    for k, row in enumerate(rows):
        with lora.rows(row[None]):
            alone = packed.model(ids[k][None]).logits
        torch.testing.assert_close(together[k][None], alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together[2][None], packed.model(ids[:1]).logits, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


@needs_bitsandbytes
def test_nothing_is_merged_into_it(packed, vectors, fitter, tmp_path):
    vector = vectors[0]
    for merge in (lambda: merged(packed, vector).__enter__(), lambda: rounding_error(packed, vector)):
        with pytest.raises(NotExact, match=r"quantised to nf4: no update .* exactly\. Choose policy=per_row"):
            merge()
    pairs = fitter.data["helpful"].train
    found = reference_log_probs(packed, pairs, Store(tmp_path), vector=vector)
    assert not torch.allclose(found, reference_log_probs(packed, pairs, Store(tmp_path)), atol=0.1)


@needs_bitsandbytes
def test_a_model_without_linear_layers_is_refused():
    with pytest.raises(BadSetting, match=r"GPT2LMHeadModel has no linear layers: choose null"):
        load_backbone(TinyRandom("gpt2"), device="cpu", quantization="nf4")
