"""Where others find a base: a hub name with its commit, an absolute path, or the code that makes it."""

import json
from dataclasses import asdict, dataclass

import pytest
import torch
import yaml

from mva.apps.command import conf_folder
from mva.models.sources.pretrained import Pretrained
from mva.models.sources.published import Published, of_path, published
from mva.models.sources.smollm2_wheel import SmolLM2Wheel
from mva.models.sources.tiny_random import TinyRandom

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def base(tmp_path):
    (tmp_path / "models" / "base").mkdir(parents=True)
    (tmp_path / "models" / "base" / "config.json").write_text("{}")
    return tmp_path / "models" / "base"


def test_a_hub_name_is_pinned_to_the_commit_that_was_loaded():
    source = Pretrained("Qwen/Qwen2.5-0.5B-Instruct", revision="main")
    assert published(source) == Published("Qwen/Qwen2.5-0.5B-Instruct", "main", license="apache-2.0")
    assert published(source, commit=COMMIT).revision == COMMIT
    assert published(Pretrained("nobody/nothing")) == Published("nobody/nothing", license="unknown")


@pytest.mark.parametrize("typed", ["base", "./base", "../models/base"])
def test_a_relative_folder_is_absolute_and_never_has_a_revision(base, monkeypatch, typed):
    monkeypatch.chdir(base.parent)
    assert published(Pretrained(typed), commit=COMMIT) == Published(str(base), local=True)
    monkeypatch.chdir("/")
    assert of_path(typed, home=base.parent) == Published(str(base), local=True)


@pytest.mark.parametrize(
    ("card", "license_"),
    [
        ("---\nlanguage: en\nlicense: gemma\n---\n# A model", "gemma"),
        ('---\nlicense: "mit"\n---\n', "mit"),
        ("# A model\nlicense: mit\n", "unknown"),
        ("---\ntags: [license]\n---\nlicense: mit\n", "unknown"),
    ],
)
def test_the_licence_of_a_local_model_is_that_of_its_card(base, card, license_):
    (base / "README.md").write_text(card)
    assert of_path(str(base)).license == license_


def test_a_snapshot_in_the_hubs_cache_is_the_hubs_model(tmp_path):
    folder = tmp_path / "models--someone--a-model" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    assert of_path(str(folder)) == Published("someone/a-model", COMMIT)


@pytest.mark.parametrize("typed", ["{}", "../base"])
def test_a_base_that_is_an_adapter_is_named_with_what_lies_below(base, typed):
    folder = base.parent / "sft"
    folder.mkdir()
    named = {"base_model_name_or_path": typed.format(base), "revision": None}
    (folder / "adapter_config.json").write_text(json.dumps(named))
    said = of_path(str(folder))
    assert said == Published(str(base), local=True, adapters=(str(folder),))
    assert said.loadable is None, "by its name alone the base would lack the adapter"


@dataclass(frozen=True)
class OfSomebodyElse:
    size: int = 3
    name: str = "theirs"


def test_a_source_that_says_nothing_is_named_by_its_code():
    said = published(OfSomebodyElse(size=4))
    assert said.name is None
    assert "OfSomebodyElse(size=4, name='theirs').load(" in said.code


def test_the_code_of_a_tiny_model_makes_the_very_weights():
    source = TinyRandom("opt", hidden_size=32, seed=5)
    names = {}
    exec(published(source).code, names)
    expected = source.load(torch.float32).model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in names["model"].state_dict().items())


def test_the_wheel_names_the_hubs_model_and_says_that_its_weights_differ():
    said = SmolLM2Wheel("anywhere").published
    assert (said.name, said.license, said.revision) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0", None)
    assert "differ" in said.note
    assert "SmolLM2Wheel(" in said.code


def test_what_was_written_down_is_read_again_and_unknown_parts_are_left_out():
    said = Published("a/b", COMMIT, license="mit")
    assert Published.from_json({**asdict(said), "of_tomorrow": 1}) == said
    assert Published.from_json({}) == Published(None)


def test_every_hub_model_that_conf_names_has_a_licence():
    paths = [yaml.safe_load(file.read_text()).get("source", {}) for file in (conf_folder() / "model").glob("*.yaml")]
    names = {source["path"] for source in paths if "/" in str(source.get("path", ""))}
    assert len(names) > 10
    assert {name for name in names if of_path(name).license == "unknown"} == set()
