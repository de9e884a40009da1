"""Which modules a LoRA is put on: every word means something that can be trained, kept, combined and exported."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Qwen3MoeConfig

from mva.models.backbone import load_backbone
from mva.models.lora import LoraSpec, attach, detach, target_modules
from mva.models.sources.tiny_random import ARCHITECTURES, TinyRandom

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks for it


def load(architecture):
    return load_backbone(TinyRandom(architecture, hidden_size=32), device="cpu")


@pytest.fixture(scope="module")
def llama():
    return load("llama")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_linear_means_what_it_means_to_peft(architecture):
    model = load(architecture).model
    names = target_modules(model, "all-linear")
    adapted = get_peft_model(
        model,
        LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM", fan_in_fan_out=architecture == "gpt2"),
    )
    expected = {name for name, module in adapted.get_base_model().named_modules() if hasattr(module, "lora_A")}
    assert set(names) == expected


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_auto_means_the_attention_projections(architecture):
    model = load(architecture).model
    names = target_modules(model, "auto")
    assert names
    assert all("attn" in name or "attention" in name for name in names)


@pytest.mark.parametrize("targets", ["q_proj", ["q_proj"], ["layers.0.self_attn.q_proj", "layers.1.self_attn.q_proj"]])
def test_a_word_is_a_word_and_not_its_letters(llama, targets):
    expected = [f"model.layers.{layer}.self_attn.q_proj" for layer in (0, 1)]
    assert target_modules(llama.model, targets) == expected
    adapted = attach(llama, LoraSpec(rank=2, targets=targets), name="kind", seed=0)
    found = [name for name, module in adapted.get_base_model().named_modules() if hasattr(module, "lora_A")]
    detach(adapted)
    assert found == expected


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (["q_proj", "nope"], "'nope' matches no module of the model, which has down_proj, gate_proj"),
        ("nope", "'nope' matches no module"),
        (["q_proj", "embed_tokens"], "means model.embed_tokens, which is an embedding"),
        (["lm_head"], "means lm_head, which is the output head"),
        (["self_attn"], "is a LlamaAttention, no linear projection"),
        (["norm"], "is a LlamaRMSNorm, no linear projection"),
    ],
)
def test_what_can_t_carry_a_lora_is_refused_by_name(llama, targets, reason):
    with pytest.raises(ValueError, match=rf"adapter\.targets: .*{reason}"):
        target_modules(llama.model, targets)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "opt"])
def test_heads_of_other_architectures_are_refused_too(architecture):
    model = load(architecture).model
    head = next(name for name, module in model.named_modules() if module is model.get_output_embeddings())
    with pytest.raises(ValueError, match="which is the output head"):
        target_modules(model, [head])


def test_experts_are_refused_and_attention_beside_them_is_not():
    config = Qwen3MoeConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        moe_intermediate_size=16,
        intermediate_size=32,
        num_experts=4,
        num_experts_per_tok=2,
        decoder_sparse_step=1,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    assert {name.rpartition(".")[2] for name in target_modules(model, "auto")} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    }
    assert all("self_attn" in name for name in target_modules(model, "all-linear"))
    with pytest.raises(ValueError, match="no linear projection"):
        target_modules(model, ["experts"])
    with pytest.raises(ValueError, match=r"adapter\.targets"):
        target_modules(model, ["gate"])


@pytest.mark.parametrize("targets", ["", [], [""], 5, None, [1], {"q_proj": 1}])
def test_targets_that_are_no_words_are_refused_without_a_model(targets):
    with pytest.raises(ValueError, match=r"^targets.* is .*: choose .*text"):
        LoraSpec(targets=targets)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_an_alpha_that_is_not_positive_is_refused(alpha):
    with pytest.raises(ValueError, match=r"^alpha is .*: choose a number above 0"):
        LoraSpec(alpha=alpha)
