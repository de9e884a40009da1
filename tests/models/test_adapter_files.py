"""Value vectors on disk: what was written is read, by PEFT too, and what is broken is refused by its name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from mva.models.adapter_files import BrokenAdapter, load_adapter, load_vectors, save_adapter
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank, ValueVector

Q0, Q1 = (f"model.layers.{i}.self_attn.q_proj" for i in range(2))
A0 = f"base_model.model.{Q0}.lora_A.weight"
B0 = f"base_model.model.{Q0}.lora_B.weight"


def vector(value="helpful", *, ranks=(2, 5), scalings=(0.5, 3.0)):
    generator = torch.Generator().manual_seed(0)
    factors = {
        name: LowRank(torch.randn(r, 64, generator=generator), torch.randn(64, r, generator=generator), scaling)
        for name, r, scaling in zip((Q0, Q1), ranks, scalings, strict=True)
    }
    return ValueVector(value, factors, "a fingerprint", "a key", {"cost": {"pairs": 3}})


@pytest.fixture
def folder(tmp_path):
    save_adapter(vector(), tmp_path / "adapters" / "helpful", base_model="owner/model", revision="v2")
    return tmp_path / "adapters" / "helpful"


def test_what_was_written_is_read(folder):
    loaded, expected = load_adapter(folder, expect_base="a fingerprint"), vector()
    assert (loaded.value, loaded.base, loaded.key, loaded.metadata) == (
        expected.value, expected.base, expected.key, expected.metadata,
    )  # fmt: skip
    for name, factor in expected.factors.items():
        assert torch.equal(loaded.factors[name].a, factor.a)
        assert torch.equal(loaded.factors[name].b, factor.b)
        assert loaded.factors[name].scaling == factor.scaling


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize(("ranks", "scalings"), [((2, 5), (0.5, 3.0)), ((5, 2), (1.0, 1.0)), ((3, 3), (2.0, 0.0))])
def test_peft_gives_every_module_its_own_rank_and_scaling(tmp_path, ranks, scalings):
    saved = vector(ranks=ranks, scalings=scalings)
    save_adapter(saved, tmp_path)
    model = PeftModel.from_pretrained(TinyRandom().load(torch.float32).model, tmp_path).get_base_model()
    for name, factor in saved.factors.items():
        torch.testing.assert_close(model.get_submodule(name).get_delta_weight("default"), factor.update())


def test_readers_without_patterns_scale_a_composed_vector_right(tmp_path):
    save_adapter(vector(ranks=(2, 5), scalings=(1.0, 1.0)), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["lora_alpha"] / config["r"] == 1.0


def test_a_base_has_its_name_and_revision(folder):
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("owner/model", "v2")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda t: t.update({A0: t[A0].int()}), r"lora_A of .*layers\.0.* as torch\.int32"),
        (lambda t: t.update({A0: t[A0].bool()}), r"as torch\.bool"),
        (lambda t: t.update({B0: t[B0][None].clone()}), r"lora_B of .*shape \(1, 64, 2\)"),
        (lambda t: t.update({A0: t[A0][:0].clone(), B0: t[B0][:, :0].clone()}), "no matching pair"),
        (lambda t: t.update({A0: t[A0][:1].clone()}), r"A is \(1, 64\), B is \(64, 2\)"),
        (lambda t: t[B0].fill_(float("-inf")), "NaN or infinity"),
        (lambda t: t.pop(B0), "lacks lora_B"),
        (lambda t: t.update({"base_model.model.lm_head.weight": torch.ones(1)}), r"mva_vector\.json does not name"),
    ],
)
def test_broken_factors_are_refused_by_name(folder, harm, sentence):
    tensors = load_file(folder / "adapter_model.safetensors")
    harm(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(BrokenAdapter, match=sentence):
        load_adapter(folder)


@pytest.mark.parametrize("scaling", [float("nan"), float("inf"), -0.5, "2", None, True, 10**400])
def test_a_scaling_that_is_no_finite_number_from_zero_is_refused(folder, scaling):
    record = json.loads((folder / "mva_vector.json").read_text())
    record["scalings"][Q1] = scaling
    (folder / "mva_vector.json").write_text(json.dumps(record))
    with pytest.raises(
        BrokenAdapter, match=r"the scaling .* of model\.layers\.1|holds (NaN|Infinity)|scalings is 1000"
    ):
        load_adapter(folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "not an object"),
        ('{"value": "x"}', "lacks base, key, metadata"),
    ],
)
def test_a_broken_record_is_refused(folder, text, sentence):
    (folder / "mva_vector.json").write_text(text)
    with pytest.raises(BrokenAdapter, match=sentence):
        load_adapter(folder)


@pytest.mark.parametrize(
    ("name", "setting", "sentence"),
    [
        ("value", 3, "value that is not text"),
        ("value", ["helpful"], "value that is not text"),
        ("base", None, "base that is not text"),
        ("key", {}, "key that is not text"),
        ("metadata", "none", "metadata that is not an object"),
        ("scalings", [1.0], "scalings that is not an object"),
        ("scalings", {}, "names no module"),
    ],
)
def test_a_record_of_another_shape_is_refused(folder, name, setting, sentence):
    record = json.loads((folder / "mva_vector.json").read_text())
    (folder / "mva_vector.json").write_text(json.dumps({**record, name: setting}))
    with pytest.raises(BrokenAdapter, match=sentence):
        load_adapter(folder, expect_base="a fingerprint")


def test_the_files_are_the_same_in_every_process(tmp_path):
    """Sets of words are ordered by a hash that every process draws anew."""
    for seed in ("1", "2"):
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); from test_adapter_files import save_adapter, vector, Path\n"
        )
        command = [sys.executable, "-W", "ignore", "-c", code + "save_adapter(vector(), Path(sys.argv[2]))"]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([*command, str(Path(__file__).parent), str(tmp_path / seed)], check=True, env=environment)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / seed).iterdir()} for seed in ("1", "2"))
    assert first == second


def test_a_torn_file_is_refused(folder):
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BrokenAdapter, match="no whole safetensors file"):
        load_adapter(folder)


def test_a_vector_lies_in_the_folder_of_its_value(folder):
    assert [found.value for found in load_vectors(folder.parent, ["helpful"])] == ["helpful"]
    shutil.copytree(folder, folder.parent / "honest")
    with pytest.raises(BrokenAdapter, match="holds the vector of 'helpful', not of 'honest'"):
        load_vectors(folder.parent, ["helpful", "honest"])
    with pytest.raises(BrokenAdapter, match="no vector of 'kind': it has helpful, honest"):
        load_vectors(folder.parent, ["kind"])


@pytest.mark.parametrize("name", ["../adapters/helpful", ".", "", "helpful/", "/"])
def test_a_name_is_never_a_path(folder, name):
    with pytest.raises(BrokenAdapter, match="holds no vector of"):
        load_vectors(folder.parent, [name])
