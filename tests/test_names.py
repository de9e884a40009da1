"""What a value may be called, and that no name of data or records becomes a path, a command of the terminal or a clash."""

import json

import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

from mva.analysis.front_view import front_view
from mva.apps.export import _target
from mva.data.loading import DataSettings
from mva.data.tokenization import TokenLimits
from mva.extrapolation.candidate import Candidate
from mva.models.adapter_files import VECTOR, load_adapter, load_vectors, save_adapter
from mva.models.backbone import load_backbone
from mva.models.lora import LoraSpec, adapter_name, attach, detach, extract
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank, ValueVector
from mva.names import MAXIMUM_BYTES, BadName, check_name
from mva.report.tables import summary
from mva.runs.run_folder import UnreadableRun, read_run

GOOD = ["helpful", "gpt4.1", "a b", "[bold]", "Ehrlichkeit", "誠実", "a=b,c", ".x", "...", "keys", "x" * MAXIMUM_BYTES]
BAD = ["", ".", "..", "/", "/etc/x", "a/b", "../x", "a\\b", "[/x]", "a\nb", "\x00", "\x1b[2J", "\u202ex", "\udc80", " a", "a ",
       "\u2028", "x" * (MAXIMUM_BYTES + 1), "é" * MAXIMUM_BYTES, 4.1, True, None, ["a"]]  # fmt: skip


@pytest.fixture
def vector():
    factor = LowRank(torch.ones(1, 2), torch.ones(2, 1), 1.0)
    return ValueVector("honest", {"layer": factor}, "base", "key")


@pytest.mark.parametrize("name", GOOD)
def test_a_name_that_a_folder_can_have_is_taken(name, tmp_path):
    assert check_name(name, where="x") == name
    (tmp_path / name).mkdir(exist_ok=True)
    assert [path.name for path in tmp_path.iterdir()] == ([name] if name != "" else [])


@pytest.mark.parametrize("name", BAD)
def test_any_other_is_refused_in_one_printable_line(name):
    with pytest.raises(BadName, match=r"^data is .*, which can't be a name: ") as refused:
        check_name(name, where="data")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("name", [name for name in BAD if isinstance(name, str)])
def test_a_value_of_a_data_config_has_a_name(name):
    with pytest.raises(BadName, match=r"data\.values"):
        DataSettings({name: None}, TokenLimits(8, 8))


@pytest.mark.parametrize("name", ["/tmp/elsewhere", "a/b", "..", "", "\x1b"])
def test_a_vector_of_a_stranger_names_a_value_and_no_path(vector, tmp_path, name):
    save_adapter(vector, tmp_path / "honest")
    record = json.loads((tmp_path / "honest" / VECTOR).read_text())
    (tmp_path / "honest" / VECTOR).write_text(json.dumps({**record, "value": name}))
    with pytest.raises(BadName, match=VECTOR):
        load_adapter(tmp_path / "honest")


def test_a_vector_lies_in_the_folder_of_its_value(vector, tmp_path):
    save_adapter(vector, tmp_path / "helpful")
    with pytest.raises(ValueError, match="holds the vector of 'honest', not of 'helpful'"):
        load_vectors(tmp_path, ["helpful"])


@pytest.mark.parametrize(
    "change", [{"id": "../../x"}, {"id": "/x"}, {"coefficients": {"../x": 1.0}}, {"coefficients": {"": 1.0}}]
)
def test_a_ledger_of_a_stranger_names_candidates_and_values_and_no_paths(make_run_folder, tmp_path, change):
    folder = make_run_folder(tmp_path / "run", 2)
    path = folder / "candidates.jsonl"
    line = json.loads(path.read_text().splitlines()[0])
    with path.open("a") as file:
        file.write(json.dumps({**line, "id": "new", **change}) + "\n")
    # Vectors of other names than the front's are noticed before their names are.
    with pytest.raises(UnreadableRun, match=r"which can't be a name|coefficients of different vectors"):
        read_run(folder)


def test_an_export_stays_in_the_runs_folder(make_run_folder, tmp_path):
    run = read_run(make_run_folder(tmp_path / "run", 2))
    config = OmegaConf.create({"export": {"to": None, "form": "adapter"}, "candidate": "../../x"})
    with pytest.raises(BadName, match=r"candidate is '\.\./\.\./x'"):
        _target(run, config, Candidate({"helpful": 1.0}))


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(TinyRandom("llama", hidden_size=32), device="cpu")


@pytest.mark.parametrize("name", ["gpt4.1", "keys", "train", "type", "lora_A", "a.b.c", "[bold]", "helpful"])
def test_a_value_of_any_name_has_an_adapter_of_its_name(backbone, name, tmp_path):
    model = attach(backbone, LoraSpec(rank=2), name=name, seed=0)
    vector = extract(model, name, base=backbone.fingerprint)
    detach(model)
    assert vector.value == name
    assert vector.factors
    save_adapter(vector, tmp_path / name)
    (loaded,) = load_vectors(tmp_path, [name])
    assert loaded.value == name


def test_an_adapter_of_a_plain_name_is_called_after_its_value():
    assert adapter_name("helpful") == "helpful"  # so that earlier checkpoints go on


@pytest.mark.parametrize("name", ["[bold]", "[red]x", "[link=x]y", "[@click=x]z"])
def test_markup_in_a_name_is_shown_as_it_is(make_run_folder, tmp_path, name):
    folder = make_run_folder(tmp_path / "run", 2)
    for path in (*folder.glob("*.json"), *folder.glob("*.jsonl")):
        path.write_text(path.read_text().replace('"helpful"', json.dumps(name)))
    run = read_run(folder)
    console = Console(width=300, record=True)
    console.print(summary(run, front_view(run)))
    assert name in console.export_text()
