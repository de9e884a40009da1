"""An interrupted training whose checkpoint is damaged, or late, or infinite: the vector is that of the unbroken one."""

import shutil
from dataclasses import replace

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from mva.data.datamodule import StepIndexedBatches
from mva.models.adapter_files import load_adapter, save_adapter
from mva.models.store import Store
from mva.training import callbacks
from mva.training import fit as fit_module
from mva.training.callbacks import KeepCheckpoints
from mva.training.module import ValueVectorModule
from mva.training.stored_vectors import put_vector
from mva.training.task import Task


class Killed(Exception):
    pass


class KillAt(Callback):
    def __init__(self, batch):
        self._batch = batch

    def on_train_batch_start(self, _trainer, _module, _batch, batch_idx):
        if batch_idx == self._batch:
            raise Killed


@pytest.fixture
def kill(monkeypatch):
    """Train until a batch begins."""

    def train(fitter, batch):
        trainer = fit_module.Trainer
        with monkeypatch.context() as patch:
            patch.setattr(
                fit_module, "Trainer", lambda **k: trainer(**{**k, "callbacks": [*k["callbacks"], KillAt(batch)]})
            )
            with pytest.raises(Killed):
                fitter(Task("helpful"))

    return train


@pytest.fixture
def steps(monkeypatch):
    """The batches that training meets."""
    seen, read = [], StepIndexedBatches.__getitem__

    def noted(batches, index):
        if len(batches) == 10:  # of training; the held-out ones are fewer
            seen.append(index)
        return read(batches, index)

    monkeypatch.setattr(StepIndexedBatches, "__getitem__", noted)
    return seen


def only(paths):
    (path,) = paths
    return path


def flip(path, where=0.5):
    content = bytearray(path.read_bytes())
    content[int(where * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def become_a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "a flipped bit at the beginning": lambda path: flip(path, 0.001),
    "a flipped bit in the weights": lambda path: flip(path, 0.5),
    "a flipped bit at the end": lambda path: flip(path, 1.0),
    "another checkpoint": lambda path: torch.save({"state_dict": {}}, path),
    "a folder": become_a_folder,
    "a dangling link": lambda path: [path.unlink(), path.symlink_to("nowhere")],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_training_continues_from_the_one_before(
    fitter, tmp_path, kill, steps, damage
):
    unbroken = replace(fitter, store=Store(tmp_path / "other"))(Task("helpful"))
    kill(fitter, 7)  # checkpoints at 4 and 6
    last = only(fitter.store.root.glob("unfinished/*/last.ckpt"))
    DAMAGES[damage](last)
    steps.clear()
    with pytest.warns(UserWarning, match=rf"The checkpoint {last} of an unfinished training is damaged"):
        resumed = fitter(Task("helpful"))
    assert steps == [4, 5, 6, 7, 8, 9]
    assert all(torch.equal(f.b, resumed.factors[name].b) for name, f in unbroken.factors.items())


@pytest.mark.parametrize("damage", ["both", "digests", "the folder"])
def test_without_any_whole_checkpoint_training_begins_again(fitter, kill, steps, damage):
    kill(fitter, 7)
    folder = only(fitter.store.root.glob("unfinished/*"))
    if damage == "both":
        flip(folder / "last.ckpt")
        flip(folder / "previous.ckpt")
    elif damage == "digests":
        (folder / "last.ckpt.sha256").write_bytes(b"\xff\xfe")
    else:
        shutil.rmtree(folder)
        folder.touch()
    steps.clear()
    with pytest.warns(UserWarning, match=r"unfinished/.* of an unfinished training is damaged"):
        fitter(Task("helpful"))
    assert steps == list(range(10))
    assert not list(fitter.store.root.glob("unfinished/*"))


def test_a_checkpoint_of_an_earlier_version_is_used_if_it_can_be_read(fitter, kill, steps):
    kill(fitter, 7)
    folder = only(fitter.store.root.glob("unfinished/*"))
    (folder / "last.ckpt.sha256").unlink()
    (folder / "previous.ckpt").unlink()
    steps.clear()
    fitter(Task("helpful"))
    assert steps == [6, 7, 8, 9]


@pytest.mark.parametrize("damage", ["empty", "torn", "another checkpoint"])
def test_an_unreadable_checkpoint_of_an_earlier_version_is_left_out(fitter, kill, damage):
    kill(fitter, 7)
    folder = only(fitter.store.root.glob("unfinished/*"))
    (folder / "last.ckpt.sha256").unlink()
    (folder / "previous.ckpt").unlink()
    DAMAGES[damage](folder / "last.ckpt")
    with pytest.warns(UserWarning, match=r"last\.ckpt of an unfinished training is damaged \((unreadable|it lacks)"):
        assert fitter(Task("helpful")).norm() > 0


@pytest.mark.parametrize("accumulate", [1, 3])
def test_checkpoints_come_by_the_clock_too_and_never_between_accumulated_batches(
    fitter, tmp_path, kill, steps, monkeypatch, accumulate
):
    recipe = replace(fitter.recipe, accumulate=accumulate)
    fitter = replace(fitter, recipe=recipe, execution=replace(fitter.execution, checkpoint_every=1000))
    unbroken = replace(fitter, store=Store(tmp_path / "other"))(Task("helpful"))
    monkeypatch.setattr(callbacks, "CHECKPOINT_SECONDS", 0.0)
    kill(fitter, 8)
    steps.clear()
    resumed = fitter(Task("helpful"))
    assert steps[0] == 8 - 8 % accumulate
    assert all(torch.equal(f.b, resumed.factors[name].b) for name, f in unbroken.factors.items())


def test_checkpoints_wait_for_their_time(fitter, kill):
    fitter = replace(fitter, execution=replace(fitter.execution, checkpoint_every=1000))
    kill(fitter, 8)
    assert not list(fitter.store.root.glob("unfinished/*/last.ckpt"))


def test_a_vector_that_blew_up_in_its_last_step_is_not_stored(fitter):
    fitter = replace(
        fitter, recipe=replace(fitter.recipe, steps=1, learning_rate=1e30, warmup=0.0, schedule="constant")
    )
    for _ in range(2):  # the second time is like the first
        with pytest.raises(
            FloatingPointError, match=r"vector of 'helpful' infinite, or NaN: lower trainer\.learning_rate"
        ):
            fitter(Task("helpful"))
        assert not (fitter.store.root / "vectors").exists()
        assert not list(fitter.store.root.glob("unfinished/*"))


def test_a_loss_that_is_no_number_leaves_no_checkpoint_to_come_back_to(fitter, monkeypatch):
    compute = ValueVectorModule._preference

    def broken(module, batch, number):
        losses, chosen, rejected = compute(module, batch, number)
        return losses * (float("nan") if len(module.history) > 5 else 1.0), chosen, rejected

    monkeypatch.setattr(ValueVectorModule, "_preference", broken)
    with pytest.raises(FloatingPointError, match="became nan at step 6"):
        fitter(Task("helpful"))
    monkeypatch.undo()
    assert not list(fitter.store.root.glob("unfinished/*"))
    assert fitter(Task("helpful")).norm() > 0


def test_a_metric_that_is_no_number_is_not_stored(fitter):
    vector = fitter(Task("helpful"))
    history = [(1, {"validation/helpful/reward_margin": float("inf")})]
    with pytest.raises(FloatingPointError, match=r"validation/helpful/reward_margin of 'helpful' is inf at step 1"):
        put_vector(fitter.store, replace(vector, key="other"), history, pairs=1, seconds=1.0)
    assert fitter.store.get("vectors", "other") is None


def test_an_infinite_vector_of_an_earlier_version_is_named_with_what_to_do(fitter):
    key = fitter(Task("helpful")).key
    folder = fitter.store.get("vectors", key)
    vector = load_adapter(folder)
    huge = {name: replace(factor, b=factor.b * 1e30) for name, factor in vector.factors.items()}
    history = (folder / "history.json").read_text()
    shutil.rmtree(folder)

    def write(draft):
        save_adapter(replace(vector, factors=huge), draft)
        (draft / "history.json").write_text(history)

    fitter.store.put("vectors", key, write)
    with pytest.raises(FloatingPointError, match=rf"remove {folder}, and lower trainer\.learning_rate"):
        fitter(Task("helpful"))


def test_an_infinite_snapshot_is_refused(fitter):
    vector = fitter(Task("helpful"))
    name, factor = next(iter(vector.factors.items()))
    broken = replace(vector, factors={**vector.factors, name: replace(factor, a=factor.a * float("nan"))})
    with pytest.raises(FloatingPointError, match="infinite, or NaN"):
        replace(fitter.snapshots, every=2).keep([broken], 2)
    assert not (fitter.store.root / "snapshots").exists()


def test_training_that_finds_no_place_is_refused_before_it_begins(fitter, monkeypatch, steps):
    def usage(_folder):
        return shutil._ntuple_diskusage(1, 1, 1000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(OSError, match=r"The training of 'helpful' needs .*kB in .*store, where 1 kB are free"):
        fitter(Task("helpful"))
    assert not steps


def test_the_clock_is_a_minute_at_most():
    assert 0 < callbacks.CHECKPOINT_SECONDS <= 60
    assert issubclass(KeepCheckpoints, callbacks.Checkpoint), "Lightning calls these after all others"
