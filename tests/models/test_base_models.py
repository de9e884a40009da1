"""What may be a base model: a merged SFT adapter, and nothing that is random, broken or half a model."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForSequenceClassification

from mva.data.preference import user_prompt
from mva.models.backbone import UnusableModel, load_backbone
from mva.models.lora import LoraSpec, attach, detach, extract
from mva.models.sources.base import Loaded, ModelUnavailable
from mva.models.sources.pretrained import Pretrained
from mva.models.sources.tiny_random import TinyRandom

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks for it
IDS = torch.arange(3, 23)[None]


def save_base(folder, *, tied=False, architecture="llama"):
    model, tokenizer = TinyRandom(architecture, hidden_size=32).load(torch.float32)
    if tied:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def sft(folder, base_folder, **settings):
    """Save an adapter whose every factor is random, and return the logits that PEFT gives with it."""
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=12, target_modules=["q_proj", "v_proj"], **settings)
    adapted = get_peft_model(Pretrained(str(base_folder)).load(torch.float32).model, config).eval()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    adapted.peft_config["default"].base_model_name_or_path = str(base_folder)
    adapted.save_pretrained(folder)
    with torch.no_grad():
        return adapted(IDS).logits


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.fixture
def base(tmp_path):
    save_base(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize(
    "settings",
    [{}, {"use_rslora": True}, {"rank_pattern": {"v_proj": 2}}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}],
    ids=["plain", "rslora", "ranks", "dora", "a whole head"],
)
def test_an_adapter_as_base_is_merged(tmp_path, base, settings):
    expected = sft(tmp_path / "sft", base, **settings)
    backbone = load_backbone(Pretrained(str(tmp_path / "sft")), device="cpu")
    torch.testing.assert_close(logits(backbone.model), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits(load_backbone(Pretrained(str(base)), device="cpu").model), expected, atol=0.1)
    assert backbone.notes == (f"{tmp_path / 'sft'} is a LoRA adapter: it is merged into its base, {base}, in float32.",)
    adapted = attach(backbone, LoraSpec(rank=2), name="kind", seed=0)
    assert set(extract(adapted, "kind", base=backbone.fingerprint).factors)
    torch.testing.assert_close(logits(detach(adapted)), expected, atol=1e-5, rtol=1e-5)


def test_the_adapter_may_name_its_base_relative_to_itself_and_bring_no_tokenizer(tmp_path, base):
    expected = sft(tmp_path / "sft", base)
    file = tmp_path / "sft" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": "../base"}))
    backbone = load_backbone(Pretrained(str(tmp_path / "sft")), device="cpu")
    torch.testing.assert_close(logits(backbone.model), expected, atol=1e-5, rtol=1e-5)
    assert backbone.template.text(user_prompt("Hi")).startswith("<|im_start|>user")


def test_merging_happens_in_float32_whatever_the_precision(tmp_path, base):
    sft(tmp_path / "sft", base)
    full = Pretrained(str(tmp_path / "sft")).load(torch.float32).model
    half = Pretrained(str(tmp_path / "sft")).load(torch.bfloat16).model
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(half.get_parameter(name), full.get_parameter(name).bfloat16())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "adapter of the kind IA3: only LoRA"),
        ({"base_model_name_or_path": None}, "does not name its base"),
        ({"r": 8}, "does not fit its base"),
        ({"target_modules": ["q_proj", "k_proj"]}, "does not fit its base"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(tmp_path, base, change, message):
    sft(tmp_path / "sft", base)
    file = tmp_path / "sft" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ModelUnavailable, match=message):
        load_backbone(Pretrained(str(tmp_path / "sft")), device="cpu")


def test_a_pickled_adapter_is_refused(tmp_path, base):
    sft(tmp_path / "sft", base)
    (tmp_path / "sft" / "adapter_model.safetensors").rename(tmp_path / "sft" / "adapter_model.bin")
    with pytest.raises(ModelUnavailable, match=r"no.*safetensors"):
        load_backbone(Pretrained(str(tmp_path / "sft")), device="cpu")


def test_a_model_with_unmerged_adapters_is_refused():
    class Unmerged(TinyRandom):
        def load(self, dtype):
            model, tokenizer = super().load(dtype)
            adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
            return Loaded(adapted.get_base_model(), tokenizer)

    with pytest.raises(UnusableModel, match="an adapter that is not merged"):
        load_backbone(Unmerged("llama"), device="cpu")


def edit_tensors(folder, edit):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_missing_tensors_are_refused_by_name(base):
    names = ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"]
    edit_tensors(base, lambda tensors: [tensors.pop(name) for name in names])
    with pytest.raises(
        ModelUnavailable, match=r"lacks the tensors model\.layers\.1\.mlp\.up_proj\.weight, model\.norm"
    ):
        load_backbone(Pretrained(str(base)), device="cpu")


def test_a_tied_head_is_not_missing(tmp_path):
    save_base(tmp_path / "tied", tied=True)
    assert "lm_head.weight" not in load_file(tmp_path / "tied" / "model.safetensors")
    backbone = load_backbone(Pretrained(str(tmp_path / "tied")), device="cpu")
    assert backbone.model.get_output_embeddings().weight is backbone.model.get_input_embeddings().weight


def test_tensors_of_another_shape_are_refused(base):
    name = "model.layers.0.self_attn.q_proj.weight"
    edit_tensors(base, lambda tensors: tensors.update({name: torch.zeros(16, 16)}))
    with pytest.raises(ModelUnavailable, match="q_proj"):
        load_backbone(Pretrained(str(base)), device="cpu")


def test_a_checkpoint_of_another_task_is_refused(tmp_path, base):
    config = LlamaConfig.from_pretrained(base, num_labels=1, tie_word_embeddings=True)
    LlamaForSequenceClassification(config).save_pretrained(base)
    with pytest.raises(ModelUnavailable, match=r"score\.weight"):
        load_backbone(Pretrained(str(base)), device="cpu")


def test_weights_that_are_not_finite_are_refused_by_name(base):
    edit_tensors(base, lambda tensors: tensors["model.layers.1.mlp.up_proj.weight"][0].fill_(float("nan")))
    with pytest.raises(UnusableModel, match=r"NaN or infinity in model\.layers\.1\.mlp\.up_proj\.weight"):
        load_backbone(Pretrained(str(base)), device="cpu")


def test_a_tokenizer_larger_than_the_embedding_is_refused_with_both_numbers(base):
    _, tokenizer = TinyRandom("llama").load(torch.float32)
    tokenizer.add_tokens(["<extra0>", "<extra1>"])
    tokenizer.save_pretrained(base)
    with pytest.raises(ModelUnavailable, match="has 261 tokens, its embedding 259 rows"):
        load_backbone(Pretrained(str(base)), device="cpu")
