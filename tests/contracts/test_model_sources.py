"""What every source of models owes."""

import pytest
import torch

from mva.models import backbone as backbone_module
from mva.models.backbone import load_backbone
from mva.models.sources.base import LoadsOnto, ModelUnavailable
from mva.models.sources.pretrained import Pretrained
from mva.models.sources.tiny_random import ARCHITECTURES, TinyRandom


@pytest.fixture(params=[*ARCHITECTURES, "local folder"])
def source(request, tmp_path):
    if request.param != "local folder":
        return TinyRandom(request.param)
    model, tokenizer = TinyRandom("llama", seed=3).load(torch.float32)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return Pretrained(str(tmp_path / "model"))


def test_the_backbone_is_frozen_and_in_eval_mode(source):
    backbone = load_backbone(source, device="cpu")
    assert backbone.name
    assert not backbone.model.training
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_precision_is_the_one_asked_for_and_logits_are_finite(source, dtype):
    backbone = load_backbone(source, dtype=dtype, device="cpu")
    assert backbone.model.dtype == getattr(torch, dtype)
    ids = torch.tensor([backbone.tokenizer.encode("Hello there")])
    assert torch.isfinite(backbone.model(ids).logits).all()


def test_the_fingerprint_is_that_of_the_weights(source):
    first, second = load_backbone(source, device="cpu"), load_backbone(source, device="cpu")
    assert first.fingerprint == second.fingerprint
    assert load_backbone(source, dtype="bfloat16", device="cpu").fingerprint != first.fingerprint


def test_weights_that_are_read_onto_a_device_are_those_of_the_host(source):
    if not isinstance(source, LoadsOnto):
        assert isinstance(source, TinyRandom)
        return
    there, _ = source.load_onto(torch.bfloat16, torch.device("meta"))
    assert {tensor.device.type for tensor in [*there.parameters(), *there.buffers()]} == {"meta"}
    here, _ = source.load(torch.bfloat16)
    onto, _ = source.load_onto(torch.bfloat16, torch.device("cpu"))
    pairs = zip(here.named_parameters(), onto.named_parameters(), strict=True)
    assert all(name == other and torch.equal(weight, same) for (name, weight), (other, same) in pairs)


class Asked(Exception):
    pass


class Remembers(TinyRandom):
    def load_onto(self, _dtype, device):
        raise Asked(device.type)


@pytest.mark.parametrize(("quantization", "device"), [(None, "cuda"), ("nf4", "cpu")])
def test_weights_go_straight_to_the_device_unless_they_are_packed_first(quantization, device, monkeypatch):
    monkeypatch.setattr(backbone_module, "check_device", lambda _name: None)
    with pytest.raises(Asked, match=device):
        load_backbone(Remembers(), device="cuda", quantization=quantization)


def test_every_text_survives_the_tokenizer(source):
    tokenizer = load_backbone(source, device="cpu").tokenizer
    text = "héllo 🙂\n  x"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3


def test_equal_weights_of_another_architecture_are_another_backbone():
    llama, mistral = (
        load_backbone(TinyRandom("llama"), device="cpu"),
        load_backbone(TinyRandom("mistral"), device="cpu"),
    )
    assert llama.fingerprint != mistral.fingerprint


@pytest.mark.parametrize(
    ("path", "words"),
    [("no/such-model", "can't be loaded"), ("{folder}", r"no \*\.safetensors")],
    ids=["unreachable", "empty"],
)
def test_a_model_that_cannot_be_had_is_told_in_one_sentence(path, words, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailable, match=words) as error:
        Pretrained(path.format(folder=tmp_path)).load(torch.float32)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", ["int64", "load", "no"])
def test_a_precision_that_is_none_is_refused(dtype):
    with pytest.raises(ValueError, match=r"model\.dtype"):
        load_backbone(TinyRandom("llama"), dtype=dtype, device="cpu")


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="llama, gpt2"):
        TinyRandom("bert")


def test_building_a_random_model_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    TinyRandom("gpt2").load(torch.float32)
    assert torch.equal(torch.rand(3), expected)
