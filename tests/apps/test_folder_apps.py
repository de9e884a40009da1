"""The apps that work on the folder of a run, as commands."""

import pytest


@pytest.fixture
def folder(tmp_path, make_run_folder):
    folder = make_run_folder(tmp_path / "run", 2)
    (folder / "config.yaml").write_text("experiment_name: made-up\nseed: 0\n")
    (folder / "adapters").mkdir()
    return folder


def test_a_candidate_is_not_exported_in_another_way_than_it_was_scored(in_process, folder, tmp_path):
    (line, *_) = (folder / "candidates.jsonl").read_text().splitlines()
    candidate = line.split('"id": "')[1][:12]
    ended = in_process("export", f"run={folder}", f"candidate={candidate}", "composition=ties", cwd=tmp_path)
    assert ended.returncode == 2
    assert "was composed by 'linear', but composition is 'ties 0.2': say composition=linear" in ended.stderr


def test_a_run_is_mirrored_afterwards_if_asked(in_process, folder, tmp_path):
    words = [f"run={folder}", "report.forms=[]", "tracking.mode=offline"]
    ended = in_process("report", *words, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert not (folder / "wandb").exists()
    ended = in_process("report", *words, "report.mirror=true", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1
