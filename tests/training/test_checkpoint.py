"""A checkpoint is whole or absent."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from mva.models.disk import DiskTrouble
from mva.training.checkpoint import AtomicCheckpointIO, usable_checkpoint


def test_what_was_saved_is_read(tmp_path):
    path = tmp_path / "deep" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weight": torch.arange(3), "step": 4}, path)
    read = AtomicCheckpointIO().load_checkpoint(path)
    assert torch.equal(read["weight"], torch.arange(3))
    assert read["step"] == 4
    assert sorted(file.name for file in path.parent.iterdir()) == ["last.ckpt", "last.ckpt.sha256"]


@pytest.mark.parametrize("culprit", ["torch.save", "os.fsync"])
def test_a_failed_write_keeps_the_checkpoint_before_it_and_leaves_nothing_else(tmp_path, monkeypatch, culprit):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)

    def fail(*arguments):
        if culprit == "torch.save":
            arguments[1].write(b"half a checkpoint")
        raise OSError("disk full, on purpose")

    monkeypatch.setattr(culprit, fail)
    with pytest.raises(OSError, match="on purpose"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    monkeypatch.undo()
    assert AtomicCheckpointIO().load_checkpoint(path) == {"step": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "last.ckpt.sha256"]
    assert usable_checkpoint(tmp_path) == path


class Malicious:
    def __reduce__(self):
        return os.getcwd, ()


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    torch.save({"state_dict": Malicious()}, tmp_path / "last.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")


def test_removing_what_is_not_there_is_no_error(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({}, path)
    for _ in range(2):
        AtomicCheckpointIO().remove_checkpoint(path)
    assert not path.exists()


def test_wherever_a_kill_falls_a_checkpoint_is_whole_and_listed(tmp_path, monkeypatch):
    """Stop before each move of a file in turn, as a kill would, and save once more after every stop."""
    save, replace, path = AtomicCheckpointIO().save_checkpoint, Path.replace, tmp_path / "last.ckpt"
    save({"step": 0}, path)
    save({"step": 1}, path)
    for stop, step in ((1, 2), (2, 3), (3, 4), (2, 5), (1, 6), (3, 7)):
        moves = []

        def killed(source, target, moves=moves, stop=stop):
            moves.append(source)
            if len(moves) == stop:
                raise KeyboardInterrupt
            return replace(source, target)

        monkeypatch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            save({"step": step}, path)
        monkeypatch.undo()
        assert AtomicCheckpointIO().load_checkpoint(usable_checkpoint(tmp_path))["step"] == step - 1
        save({"step": step}, path)


def test_a_full_disk_is_said_and_keeps_the_checkpoint_before_it(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)

    def to_a_full_disk(checkpoint, _file):
        with Path("/dev/full").open("wb", buffering=0) as full:
            write(checkpoint, full)

    write = torch.save
    monkeypatch.setattr(torch, "save", to_a_full_disk)
    with pytest.raises(
        DiskTrouble, match=r"No space left for the checkpoint of an unfinished training in .*paths\.cache"
    ):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    assert AtomicCheckpointIO().load_checkpoint(usable_checkpoint(tmp_path)) == {"step": 1}


def test_no_checkpoint_is_none(tmp_path):
    assert usable_checkpoint(tmp_path) is None
    assert usable_checkpoint(tmp_path / "not there") is None
