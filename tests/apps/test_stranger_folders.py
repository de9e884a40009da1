"""Run folders of strangers: no app writes outside of them or waits for ever; and values whose names have dots."""

import os

import pytest
from omegaconf import OmegaConf

from mva.apps import explore, export, judge, report, run, serve
from mva.apps.dotted import with_dotted_names
from mva.apps.export_folder import check_target
from mva.checks import BadSetting
from mva.evaluation.json_lines import DamagedLedger, JsonLines
from mva.folders import UnsafeFolder, check_folder
from mva.records import LARGEST_RECORD, BrokenRecord, read_json
from mva.report.figures import draw_hypervolume, save
from mva.shapes import anything

READERS = {"explore": explore, "export": export, "judge": judge, "report": report, "serve": serve}
LINKS = (
    "report.html", "figures", "figures/front.png", "wandb", "exported", "adapters", "adapters/first", "candidates.jsonl",
    "judge_answers.jsonl", "run.log", ".hydra", ".lock", ".writer", "independent", "front.json",
)  # fmt: skip
PIPES = (
    "candidates.jsonl",
    "generations.jsonl",
    "metrics.jsonl",
    "front.csv",
    "report.html",
    "run.log",
    "judgement.json",
)
DOTTED = {
    "coefficients": ("gpt4.1", 0.5, {"gpt4": {"1": 0.5}}),
    "adapters": ("a.b.c", "folder", {"a": {"b": {"c": "folder"}}}),
    "rewards": ("gpt4.1", {"_target_": "x.Y", "then": {"z": 1}}, {"gpt4": {1: {"_target_": "x.Y", "then": {"z": 1}}}}),
}


@pytest.fixture
def folder(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "run", 2)
    (folder / "config.yaml").write_text("experiment_name: made-up\nseed: 0\n")
    (folder / "adapters").mkdir(exist_ok=True)
    return folder


@pytest.fixture
def outside(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious")
    return outside


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def replace_by(place, make):
    if place.is_dir():
        place.rename(place.with_name(f"{place.name}.before"))
    place.unlink(missing_ok=True)
    place.parent.mkdir(exist_ok=True)
    make(place)


@pytest.mark.parametrize("target", ["file", ".", "missing"])
@pytest.mark.parametrize("name", LINKS)
def test_a_link_out_of_the_folder_is_named(folder, outside, name, target):
    replace_by(folder / name, lambda place: place.symlink_to(outside / target))
    with pytest.raises(UnsafeFolder, match=f"leads out of it, {name}, to .*outside"):
        check_folder(folder)


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_in_place_of_a_file_is_named(folder, name):
    replace_by(folder / name, os.mkfifo)
    with pytest.raises(UnsafeFolder, match=f"{name}, which is neither a file nor a folder"):
        check_folder(folder)


@pytest.mark.parametrize("app", READERS)
@pytest.mark.parametrize("name", ["figures", ".writer", "exported"])
def test_no_app_follows_a_link_out_of_the_folder(start, folder, outside, capsys, app, name):
    replace_by(folder / name, lambda place: place.symlink_to(outside))
    before = contents(outside)
    assert start(READERS[app], f"run={folder}", f"hydra.run.dir={folder.parent / 'own'}") == 2
    assert f"leads out of it, {name}," in capsys.readouterr().err
    assert contents(outside) == before


@pytest.mark.parametrize("app", ["explore", "judge"])
def test_no_app_waits_for_a_pipe(in_process, folder, app):
    replace_by(folder / "candidates.jsonl", os.mkfifo)
    words = [f"run={folder}", f"hydra.run.dir={folder.parent / 'own'}"]
    ended = in_process(app, *words, cwd=folder.parent)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "candidates.jsonl, which is neither a file nor a folder" in ended.stderr


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir"])
@pytest.mark.parametrize("name", ["run.log", ".hydra"])
def test_hydra_writes_nothing_through_a_link_either(start, folder, outside, capsys, name, key):
    replace_by(folder / name, lambda place: place.symlink_to(outside / "file"))
    before = contents(outside)
    assert start(run, "debug=smoke", f"{key}={folder}") == 2
    assert f"leads out of it, {name}," in capsys.readouterr().err
    assert contents(outside) == before


def test_links_that_stay_inside_and_links_to_the_folder_work(tmp_path, folder):
    (folder / "again.json").symlink_to("front.json")
    (folder / "wandb").mkdir()
    (folder / "wandb" / "latest-run").symlink_to(tmp_path / "where-it-was-made")
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert check_folder(link) == link
    assert check_folder(tmp_path / "missing") == tmp_path / "missing"


def test_a_figure_takes_the_place_of_a_link(tmp_path, outside):
    (tmp_path / "front.png").symlink_to(outside / "file")
    save(draw_hypervolume([1.0, 2.0]), tmp_path, "front", forms=())
    assert (outside / "file").read_text() == "precious"
    assert not (tmp_path / "front.png").is_symlink()


def test_files_that_claim_to_be_huge_are_not_read(tmp_path):
    for name in ("record.json", "ledger.jsonl"):
        (tmp_path / name).write_bytes(b"")
        os.truncate(tmp_path / name, LARGEST_RECORD + 1)
    with pytest.raises(BrokenRecord, match=f"record.json has {LARGEST_RECORD + 1} bytes, .*: restore it"):
        read_json(tmp_path / "record.json", anything, mend="restore it")
    with pytest.raises(DamagedLedger, match=r"ledger\.jsonl:1 is longer than any line"):
        list(JsonLines(tmp_path / "ledger.jsonl").read())


@pytest.mark.parametrize("named", ["/nope", "."])
def test_explore_refuses_a_folder_without_vectors_before_a_model_is_loaded(start, tmp_path, capsys, named):
    place = tmp_path / named
    assert start(explore, f"run={place}", f"hydra.run.dir={tmp_path / 'own'}", "model=tiny_llama") == 2
    shown = capsys.readouterr().err
    assert f"run is {place}, which holds no adapters/" in shown
    assert "Load the model" not in shown


@pytest.mark.parametrize("line", ['{"a": 1}', '{"key": [1], "verdict": null}', '{"key": "k", "verdict": 5}', "[]"])
def test_a_judges_answers_of_another_shape_are_named(start, folder, capsys, monkeypatch, line):
    monkeypatch.setenv("MVA_JUDGE_URL", "http://localhost:9/v1")
    monkeypatch.setenv("MVA_JUDGE_MODEL", "none")
    (folder / "judge_answers.jsonl").write_text(f"{line}\n")
    assert start(judge, f"run={folder}", "judge=endpoint", "judge.dry_run=true") == 2
    assert "judge_answers.jsonl:1 is of another shape" in capsys.readouterr().err


@pytest.mark.parametrize("files", ["5", "[1]", '{"a": 1}'])
def test_an_exports_record_of_another_shape_is_named(tmp_path, files):
    (tmp_path / "mva_export.json").write_text(f'{{"files": {files}}}')
    with pytest.raises(BrokenRecord, match=r"mva_export\.json is of another shape: .*: choose another export\.to"):
        check_target(tmp_path)


@pytest.mark.parametrize("key", DOTTED)
def test_names_with_dots_are_joined_again(key):
    name, meant, nested = DOTTED[key]
    config = OmegaConf.create({key: nested, "seed": 0})
    assert OmegaConf.to_container(with_dotted_names(config)) == {key: {name: meant}, "seed": 0}
    plain = OmegaConf.create({key: {name: meant}})
    assert with_dotted_names(plain) is plain


def test_a_name_with_dots_that_is_there_twice_is_refused():
    config = OmegaConf.create({"coefficients": {"gpt4": {"1": 0.5}, "gpt4.1": 1}})
    with pytest.raises(BadSetting, match=r"coefficients names gpt4\.1 twice"):
        with_dotted_names(config)


@pytest.mark.parametrize(
    "word", ["coefficients.gpt4.1=0.5", "coefficients={gpt4.1: 0.5}", "coefficients.gpt4={1: 0.5}"]
)
def test_a_coefficient_of_a_value_with_dots_is_understood(start, folder, capsys, word):
    assert start(export, f"run={folder}", word) == 2
    assert "holds no vector of 'gpt4.1'" in capsys.readouterr().err
