"""Adapters that PEFT made, saved and evaluates: ours must say the same, or say why not."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from mva.composition.linear import Linear
from mva.models.adapter_files import BrokenAdapter, save_adapter
from mva.models.adapter_fit import doubts, fit_to, same_adapters
from mva.models.backbone import load_backbone
from mva.models.coefficient_lora import CoefficientLora
from mva.models.foreign_adapters import read_peft_adapter
from mva.models.merge import merged
from mva.models.sources.tiny_random import TinyRandom

# PEFT asks transformers in a way that is to go away.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

IDS = torch.arange(3, 43).view(2, 20)
OMEGA = {"helpful": 0.7, "honest": -1.3}
OPT_LAYER = r"model\.decoder\.layers\.0\.self_attn"
FAMILIES = {
    "llama": [
        {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "v_proj"]},
        {"r": 8, "lora_alpha": 16, "use_rslora": True, "target_modules": "all-linear"},
    ],
    "qwen": [
        {
            "r": 4,
            "lora_alpha": 6,
            "target_modules": ["q_proj", "o_proj", "down_proj"],
            "rank_pattern": {"o_proj": 2, r"^model\.layers\.1\.self_attn\.q_proj": 7},
            "alpha_pattern": {r"layers\.0\.mlp\.down_proj": 1, "q_proj": 11},
        },
        {
            "r": 2,
            "lora_alpha": 9,
            "use_rslora": True,
            "target_modules": r".*\.layers\.\d+\.(self_attn\.k_proj|mlp\.up_proj)",
            "rank_pattern": {r"layers\.1\..*": 5},
        },
    ],
    "gpt2": [
        {"r": 3, "lora_alpha": 8, "target_modules": ["c_attn"], "fan_in_fan_out": True},
        {"r": 2, "lora_alpha": 4, "target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True,
         "init_lora_weights": "gaussian"},
    ],
    "mistral": [
        {"r": 6, "lora_alpha": 6, "target_modules": ["gate_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
        {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "gate_proj"], "exclude_modules": ["layers.0.mlp.gate_proj"],
         "init_lora_weights": "orthogonal"},
    ],
    "opt": [
        {"r": 4, "lora_alpha": 8, "target_modules": ["fc1", "out_proj"], "layers_to_transform": 0},
        {"r": 5, "lora_alpha": 3, "target_modules": rf"{OPT_LAYER}\.(q|v)_proj", "lora_dropout": 0.5},
    ],
}  # fmt: skip


def saved_by_peft(folder, architecture="llama", *, seed=0, **settings):
    """Let PEFT make an adapter of this configuration, with numbers as after training, and save it."""
    model = TinyRandom(architecture).load(torch.float32).model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder, save_embedding_layers=False)
    configure(folder, base_model_name_or_path=f"elsewhere/tiny-{architecture}")  # PEFT itself would ask the hub for it
    return folder


def configure(folder, **settings):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@torch.no_grad()
def by_peft(architecture, folders, omega):
    """Let PEFT load the adapters into one model, combine them by `cat` and answer; and with each active, scaled."""
    base = TinyRandom(architecture).load(torch.float32).model
    (first, path), *others = folders.items()
    model = PeftModel.from_pretrained(base, path, adapter_name=first).eval()
    for name, other in others:
        model.load_adapter(other, adapter_name=name)
    for module in model.modules():
        if hasattr(module, "lora_A"):
            for name in set(omega) & set(module.lora_A):
                module.set_scale(name, omega[name])
    model.base_model.set_adapter(list(omega))
    return model.double()(IDS).logits


@torch.no_grad()
def base_logits(architecture):
    return TinyRandom(architecture).load(torch.float32).model.double()(IDS).logits


@pytest.fixture(params=FAMILIES)
def case(request, tmp_path):
    """An architecture, the folders of two adapters by value, and the backbone."""
    folders = {
        value: saved_by_peft(tmp_path / value, request.param, seed=i, **settings)
        for i, (value, settings) in enumerate(zip(OMEGA, FAMILIES[request.param], strict=True))
    }
    return request.param, folders, backbone_of(request.param)


def backbone_of(architecture="llama"):
    """The float32 weights, computed with in float64: what differs is the combination, not the rounding."""
    backbone = load_backbone(TinyRandom(architecture), device="cpu")
    return replace(backbone, model=backbone.model.double())


def fitted(folders, backbone):
    return [fit_to(read_peft_adapter(folder), backbone, value=value) for value, folder in folders.items()]


@torch.no_grad()
@pytest.mark.parametrize("omega", [OMEGA, {"helpful": 1.0, "honest": 0.0}, {"helpful": 0.0, "honest": 1.0}])
def test_a_combination_is_what_peft_says_with_both_adapters_active(case, omega):
    architecture, folders, backbone = case
    expected = by_peft(architecture, folders, omega)
    vectors = fitted(folders, backbone)
    assert not torch.allclose(expected, base_logits(architecture), atol=1e-2)
    with CoefficientLora(backbone, vectors).rows(torch.tensor([list(omega.values())] * 2)) as model:
        torch.testing.assert_close(model(IDS).logits, expected, atol=1e-5, rtol=1e-5)
    with merged(backbone, Linear().compose(vectors, omega)) as model:
        torch.testing.assert_close(model(IDS).logits, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_one_adapter_that_is_written_is_what_peft_says_with_both_active(case, tmp_path):
    architecture, folders, backbone = case
    expected = by_peft(architecture, folders, OMEGA)
    save_adapter(Linear().compose(fitted(folders, backbone), OMEGA), tmp_path / "one")
    model = PeftModel.from_pretrained(TinyRandom(architecture).load(torch.float32).model, tmp_path / "one").eval()
    torch.testing.assert_close(model.double()(IDS).logits, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_combination_is_pefts_cat(tmp_path):
    targets = {"target_modules": ["q_proj", "up_proj"]}
    patterns = {"rank_pattern": {"up_proj": 5}, "alpha_pattern": {r"layers\.1\.self_attn\.q_proj": 2}}
    # Where the first adapter has rsLoRA, PEFT's `cat` is `sqrt(sum of ranks)` times what it says with both active.
    folders = {
        "helpful": saved_by_peft(tmp_path / "a", r=3, lora_alpha=7, **targets, **patterns),
        "honest": saved_by_peft(tmp_path / "b", r=10, lora_alpha=4, use_rslora=True, seed=1, **targets),
    }
    model = PeftModel.from_pretrained(TinyRandom().load(torch.float32).model, folders["helpful"], adapter_name="a")
    model.load_adapter(folders["honest"], adapter_name="b")
    model.add_weighted_adapter(["a", "b"], list(OMEGA.values()), "both", combination_type="cat")
    model.set_adapter("both")
    expected = model.double().eval()(IDS).logits
    backbone = backbone_of()
    with CoefficientLora(backbone, fitted(folders, backbone)).rows(torch.tensor([list(OMEGA.values())] * 2)) as ours:
        torch.testing.assert_close(ours(IDS).logits, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(by_peft("llama", folders, OMEGA), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_factors_are_combined_in_single_precision(tmp_path, dtype):
    folder = saved_by_peft(tmp_path, r=4, lora_alpha=7, target_modules=["q_proj"])
    rounded = {key: tensor.to(dtype) for key, tensor in load_file(folder / "adapter_model.safetensors").items()}
    save_file(rounded, folder / "adapter_model.safetensors")
    expected = by_peft("llama", {"helpful": folder}, {"helpful": 0.3})
    backbone = backbone_of()
    (vector,) = fitted({"helpful": folder}, backbone)
    assert {factor.a.dtype for factor in vector.factors.values()} == {torch.float32}
    with merged(backbone, Linear().compose([vector], {"helpful": 0.3})) as model:
        torch.testing.assert_close(model(IDS).logits, expected, atol=1e-5, rtol=1e-5)


def test_keys_without_pefts_prefix_are_the_same_adapter(tmp_path):
    folder = saved_by_peft(tmp_path, r=4, lora_alpha=7, target_modules=["q_proj"])
    with_prefix = read_peft_adapter(folder)
    path = folder / "adapter_model.safetensors"
    save_file({key.removeprefix("base_model.model."): tensor for key, tensor in load_file(path).items()}, path)
    assert read_peft_adapter(folder).key == with_prefix.key


# What is no plain LoRA, as PEFT itself writes it.
REFUSED_CONFIGURATIONS = [
    ({"use_dora": True}, r"use_dora=true, which can't be combined: DoRA"),
    ({"bias": "lora_only"}, r'bias="lora_only"'),
    ({"bias": "all"}, r'bias="all"'),
    ({"lora_bias": True}, r"lora_bias=true"),
    ({"modules_to_save": ["lm_head"]}, r'modules_to_save=\["lm_head"\]'),
    ({"trainable_token_indices": [5, 6]}, r"trainable_token_indices=\[5, 6\]"),
    ({"alora_invocation_tokens": [3, 4]}, r"alora_invocation_tokens=\[3, 4\]"),
    ({"layer_replication": [[0, 2], [1, 2]]}, r"layer_replication="),
    ({"init_lora_weights": "pissa"}, r'init_lora_weights="pissa".*path_initial_model'),
    ({"init_lora_weights": "olora"}, r'init_lora_weights="olora"'),
]


@pytest.mark.parametrize(("settings", "sentence"), REFUSED_CONFIGURATIONS, ids=lambda p: str(p)[:30])
@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # PEFT's own words about some of these
def test_what_is_more_than_a_low_rank_update_is_refused_by_its_name(tmp_path, settings, sentence):
    folder = saved_by_peft(tmp_path, r=4, lora_alpha=7, target_modules=["q_proj"], **settings)
    with pytest.raises(BrokenAdapter, match=sentence) as error:
        read_peft_adapter(folder)
    assert "\n" not in str(error.value)


def test_another_type_of_adapter_is_refused_by_its_name(tmp_path):
    config = IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[])
    get_peft_model(TinyRandom().load(torch.float32).model, config).save_pretrained(tmp_path)
    with pytest.raises(BrokenAdapter, match="a PEFT adapter of type IA3"):
        read_peft_adapter(tmp_path)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning")
@pytest.mark.parametrize(("target", "sentence"), [("embed_tokens", "lora_embedding"), ("lm_head", "shares")])
def test_what_reaches_the_embeddings_is_refused(tmp_path, target, sentence):
    source = TinyRandom("gemma")  # whose head is tied to its embeddings
    config = LoraConfig(r=2, target_modules=[target, "q_proj"])
    model = get_peft_model(source.load(torch.float32).model, config)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    with pytest.raises(BrokenAdapter, match=sentence):
        fit_to(read_peft_adapter(tmp_path), load_backbone(source, device="cpu"), value="helpful")


@torch.no_grad()
def test_a_head_of_its_own_is_adapted_like_any_projection(tmp_path):
    folders = {"helpful": saved_by_peft(tmp_path, r=3, lora_alpha=4, target_modules=["lm_head", "q_proj"])}
    expected = by_peft("llama", folders, {"helpful": 1.5})
    backbone = backbone_of()
    with CoefficientLora(backbone, fitted(folders, backbone)).rows(torch.full((2, 1), 1.5)) as model:
        torch.testing.assert_close(model(IDS).logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bases_own_weights_beside_an_adapted_head_are_checked(tmp_path, dtype):
    model = get_peft_model(TinyRandom().load(torch.float32).model, LoraConfig(r=2, target_modules=["lm_head"]))
    with pytest.warns(UserWarning, match="save_embedding_layers"):
        model.to(dtype).save_pretrained(tmp_path)
    adapter, backbone = read_peft_adapter(tmp_path), load_backbone(TinyRandom(), device="cpu")
    assert adapter.base_weights
    assert set(fit_to(adapter, backbone, value="helpful").factors) == {"lm_head"}
    with pytest.raises(
        BrokenAdapter, match=r"changes .*, whose weights differ from those of .*: only low-rank updates"
    ):
        fit_to(adapter, load_backbone(TinyRandom(seed=1), device="cpu"), value="helpful")


def test_experts_are_refused_by_name(tmp_path):
    torch.manual_seed(0)
    backbone = backbone_of()
    layer = backbone.model.model.layers[1]
    layer.mlp = type("LlamaSparseMoeBlock", (torch.nn.Module,), {"forward": layer.mlp.forward})()
    layer.mlp.gate_proj = torch.nn.Linear(64, 128, bias=False)
    folder = saved_by_peft(tmp_path, r=3, lora_alpha=4, target_modules=["gate_proj"])
    with pytest.raises(BrokenAdapter, match=r"layers\.1\.mlp\.gate_proj, which is a projection of experts"):
        fit_to(read_peft_adapter(folder), backbone, value="helpful")


Q0 = "base_model.model.model.layers.0.self_attn.q_proj"


def set_number(tensors):
    tensors[f"{Q0}.lora_B.weight"][0, 0] = float("nan")


def set_integers(tensors):
    tensors[f"{Q0}.lora_A.weight"] = tensors[f"{Q0}.lora_A.weight"].to(torch.int32)


def add_axis(tensors):
    tensors[f"{Q0}.lora_A.weight"] = tensors[f"{Q0}.lora_A.weight"][None].contiguous()


def empty_rank(tensors):
    tensors[f"{Q0}.lora_A.weight"] = torch.zeros(0, 64)
    tensors[f"{Q0}.lora_B.weight"] = torch.zeros(64, 0)


def lower_rank(tensors):
    tensors[f"{Q0}.lora_A.weight"] = tensors[f"{Q0}.lora_A.weight"][:2].contiguous()
    tensors[f"{Q0}.lora_B.weight"] = tensors[f"{Q0}.lora_B.weight"][:, :2].contiguous()


def untargeted(tensors):
    for side in "AB":
        tensors[f"base_model.model.model.layers.0.mlp.up_proj.lora_{side}.weight"] = torch.ones(4, 4)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (set_number, "NaN or infinity in model.layers.0.self_attn.q_proj"),
        (set_integers, r"lora_A of .*q_proj as torch\.int32"),
        (add_axis, r"shape \(1, 4, 64\)"),
        (empty_rank, r"no matching pair .*A is \(0, 64\)"),
        (lower_rank, r"rank 2 for model\.layers\.0\.self_attn\.q_proj, but adapter_config\.json says 4"),
        (untargeted, r"factors of model\.layers\.0\.mlp\.up_proj, which adapter_config\.json does not target"),
        (lambda t: t.pop(f"{Q0}.lora_B.weight"), r"lacks lora_B of model\.layers\.0\.self_attn\.q_proj"),
        (lambda t: t.pop(f"{Q0}.lora_A.weight"), r"lacks lora_A of model\.layers\.0\.self_attn\.q_proj"),
        (lambda t: t.update({"base_model.model.lm_head.bias": torch.ones(2)}), r"lm_head\.bias', a tensor that"),
        (lambda t: t.update({f"{Q0}.lora_A.default.weight": torch.ones(2, 2)}), r"lora_A\.default"),
        (lambda t: t.clear(), "holds no factors"),
    ],
)
def test_broken_weights_are_refused_without_a_base(tmp_path, harm, sentence):
    folder = saved_by_peft(tmp_path, r=4, lora_alpha=7, target_modules=["q_proj"])
    tensors = load_file(folder / "adapter_model.safetensors")
    harm(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(BrokenAdapter, match=sentence):
        read_peft_adapter(folder)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"r": 0}, "r is 0"),
        ({"r": 2.5}, r"r is 2\.5"),
        ({"lora_alpha": float("nan")}, "holds NaN"),
        ({"lora_alpha": -4}, "alpha is -4"),
        ({"alpha_pattern": {"q_proj": "big"}}, "makes no LoRA configuration"),
        ({"target_modules": "([q_proj"}, "makes no LoRA configuration"),
        ({"target_modules": None}, "target_modules is empty"),
        ({"base_model_name_or_path": 7}, "base_model_name_or_path is no text"),
        ({"layers_to_transform": 1.5}, "targets that can't be read"),
        ({"layers_to_transform": [0, 1], "layers_pattern": "(layers"}, "targets that can't be read"),
        ({"layers_to_transform": "01"}, "targets that can't be read"),
        ({"a_setting_of_tomorrow": 1}, "a_setting_of_tomorrow=1"),
        ({"task_type": "SEQ_CLS"}, 'task_type="SEQ_CLS"'),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(tmp_path, settings, sentence):
    folder = saved_by_peft(tmp_path, r=4, lora_alpha=7, target_modules=["q_proj"])
    configure(folder, **settings)
    with pytest.raises(BrokenAdapter, match=sentence):
        read_peft_adapter(folder)


def test_what_is_no_adapters_folder_is_said(tmp_path):
    folder = saved_by_peft(tmp_path / "a" / "default", r=4, lora_alpha=7, target_modules=["q_proj"])
    with pytest.raises(BrokenAdapter, match="no folder"):
        read_peft_adapter(tmp_path / "nowhere")
    with pytest.raises(BrokenAdapter, match="name one of its adapters, default"):
        read_peft_adapter(tmp_path / "a")
    torch.save({}, folder / "adapter_model.bin")
    whole = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenAdapter, match="no whole safetensors file"):
        read_peft_adapter(folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(BrokenAdapter, match=r"adapter_model\.bin, a pickle"):
        read_peft_adapter(folder)
    (folder / "adapter_config.json").write_text("{")
    (folder / "adapter_model.safetensors").write_bytes(whole)
    with pytest.raises(BrokenAdapter, match="not JSON"):
        read_peft_adapter(folder)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (TinyRandom("gpt2"), "a module that tiny-gpt2 lacks: it was trained on elsewhere/tiny-llama"),
        (TinyRandom("llama", hidden_size=32), "64 -> 64, but in tiny-llama it is 32 -> 32"),
        (TinyRandom("llama", layers=3), r"no factors of model\.layers\.2\.self_attn\.q_proj \(1 of 3 modules"),
        (TinyRandom("llama", layers=1), r"adapts model\.layers\.1\.self_attn\.q_proj, a module that tiny-llama lacks"),
    ],
)
def test_another_base_is_refused(tmp_path, source, sentence):
    adapter = read_peft_adapter(saved_by_peft(tmp_path, r=4, lora_alpha=7, target_modules=["q_proj"]))
    with pytest.raises(BrokenAdapter, match=sentence):
        fit_to(adapter, load_backbone(source, device="cpu"), value="helpful")


def test_an_adapter_that_lacks_targeted_modules_is_refused(tmp_path):
    folder = saved_by_peft(tmp_path, r=4, lora_alpha=7, target_modules=["q_proj", "v_proj"])
    tensors = load_file(folder / "adapter_model.safetensors")
    kept = {key: tensor for key, tensor in tensors.items() if "layers.1.self_attn.v_proj" not in key}
    save_file(kept, folder / "adapter_model.safetensors")
    with pytest.raises(BrokenAdapter, match=r"no factors of model\.layers\.1\.self_attn\.v_proj \(1 of 4"):
        fit_to(read_peft_adapter(folder), load_backbone(TinyRandom(), device="cpu"), value="helpful")


def test_the_key_is_that_of_the_update_alone(tmp_path):
    settings = {"lora_alpha": 8, "target_modules": ["q_proj"]}
    adapter = read_peft_adapter(saved_by_peft(tmp_path / "a", r=4, **settings))
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    other_numbers = read_peft_adapter(saved_by_peft(tmp_path / "b", r=4, seed=1, **settings))
    other_scaling = read_peft_adapter(saved_by_peft(tmp_path / "c", r=4, use_rslora=True, **settings))
    assert read_peft_adapter(tmp_path / "copy").key == adapter.key
    assert len({adapter.key, other_numbers.key, other_scaling.key}) == 3
    (line,) = same_adapters({"x": adapter, "y": other_numbers, "z": read_peft_adapter(tmp_path / "copy")})
    assert line.startswith("x and z are the same adapter")


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("someone/Tiny-Llama", None),
        ("/models/tiny-llama", None),
        ("other/model", "names other/model"),
        (None, "does not"),
    ],
)
def test_a_base_of_another_name_is_told_and_one_in_another_place_is_not(tmp_path, base, said):
    folder = saved_by_peft(tmp_path, r=4, lora_alpha=7, target_modules=["q_proj"])
    configure(folder, base_model_name_or_path=base)
    lines = doubts(read_peft_adapter(folder), load_backbone(TinyRandom(), device="cpu"))
    assert lines == [] if said is None else [line for line in lines if said in line] == lines != []


def test_how_the_base_differs_from_its_name_is_told_of_adapters_that_were_not_trained_on_it(tmp_path):
    folder = saved_by_peft(tmp_path / "other", r=4, lora_alpha=7, target_modules=["q_proj"])
    backbone = load_backbone(TinyRandom(), device="cpu")
    assert doubts(read_peft_adapter(folder), backbone, note="rounded") == ["rounded"]
    vector = fit_to(read_peft_adapter(folder), backbone, value="helpful")
    save_adapter(vector, tmp_path / "own", base_model="tiny-llama")
    assert doubts(read_peft_adapter(tmp_path / "own"), backbone, note="rounded") == []
    stranger = replace(vector, base="of other weights")
    save_adapter(stranger, tmp_path / "own", base_model="tiny-llama")
    (other, note) = doubts(read_peft_adapter(tmp_path / "own"), backbone, note="rounded")
    assert "trained on other weights" in other
    assert note == "rounded"


def test_an_adapter_that_was_never_trained_is_told(tmp_path):
    model = get_peft_model(TinyRandom().load(torch.float32).model, LoraConfig(r=2, target_modules=["q_proj"]))
    model.save_pretrained(tmp_path)
    lines = doubts(read_peft_adapter(tmp_path), load_backbone(TinyRandom(), device="cpu"))
    assert any("changes nothing" in line for line in lines)
