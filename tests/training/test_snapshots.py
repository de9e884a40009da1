"""What a vector was on its way: the same as if training had ended there, and no part of what it becomes."""

from dataclasses import replace

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from mva.models.store import Store
from mva.training import fit as fit_module
from mva.training.orthogonal_complement import OrthogonalComplement
from mva.training.spec import ExecutionOptions, Recipe
from mva.training.task import Task


class Cut(Exception):
    """The power is gone."""


class CutAt(Callback):
    def __init__(self, batch):
        self._batch = batch

    def on_train_batch_end(self, _trainer, _module, _outputs, _batch, batch_idx):
        if batch_idx == self._batch:
            raise Cut


def same(first, second):
    return first.factors.keys() == second.factors.keys() and all(
        torch.equal(f.a, second.factors[name].a) and torch.equal(f.b, second.factors[name].b)
        for name, f in first.factors.items()
    )


@pytest.fixture
def looking(fitter):
    """A fitter that keeps a snapshot every four of ten batches; its learning rate does not know how many there are."""
    recipe = Recipe(steps=10, batch_size=3, learning_rate=5e-3, schedule="constant", warmup=0.0)
    return replace(fitter, recipe=recipe, execution=replace(fitter.execution, snapshot_every=4))


def shorter(fitter, tmp_path, steps):
    return replace(fitter, recipe=replace(fitter.recipe, steps=steps), store=Store(tmp_path / f"of {steps}"))


def test_a_snapshot_is_what_a_shorter_training_gives(looking, tmp_path):
    vector = looking(Task("helpful"))
    snapshots = looking.snapshots.of(vector)
    assert list(snapshots) == [4, 8, 10]
    assert snapshots[10] is vector
    for steps in (4, 8):
        assert same(snapshots[steps], shorter(looking, tmp_path, steps)(Task("helpful")))


def test_a_vector_is_the_same_with_snapshots_or_without(looking, tmp_path):
    plain = replace(looking, execution=ExecutionOptions(accelerator="cpu", devices=1), store=Store(tmp_path / "plain"))
    first, second = looking(Task("helpful")), plain(Task("helpful"))
    assert first.key == second.key
    assert same(first, second)
    assert not (plain.store.root / "snapshots").exists()
    assert list(plain.snapshots.of(second)) == [10]


def test_every_snapshot_has_a_key_of_its_own(looking):
    snapshots = [*looking.snapshots.of(looking(Task("helpful"))).values()]
    snapshots += looking.snapshots.of(looking(Task("harmless"))).values()
    assert len({snapshot.key for snapshot in snapshots}) == 6


def test_a_snapshot_of_a_constrained_vector_has_been_projected(looking, tmp_path):
    first = looking(Task("helpful"))
    task = Task("harmless", earlier=(first,), constraint=OrthogonalComplement())
    (snapshot, *_) = looking.snapshots.of(looking(task)).values()
    assert same(snapshot, shorter(looking, tmp_path, 4)(task))


def test_where_training_was_cut_off_the_snapshots_are_those_of_the_unbroken_one(looking, tmp_path, monkeypatch):
    unbroken = replace(looking, store=Store(tmp_path / "other"))
    expected = unbroken.snapshots.of(unbroken(Task("helpful")))
    trainer = fit_module.Trainer
    monkeypatch.setattr(fit_module, "Trainer", lambda **k: trainer(**{**k, "callbacks": [*k["callbacks"], CutAt(6)]}))
    with pytest.raises(Cut):
        looking(Task("helpful"))
    monkeypatch.setattr(fit_module, "Trainer", trainer)
    found = looking.snapshots.of(looking(Task("helpful")))
    assert found.keys() == expected.keys()
    assert all(same(found[step], expected[step]) for step in expected)


def test_a_stored_vector_is_trained_again_if_its_snapshots_are_wanted_and_missing(looking, tmp_path):
    first = replace(looking, execution=replace(looking.execution, snapshot_every=0))(Task("helpful"))
    with pytest.raises(
        ValueError, match=r"no snapshots of 'helpful' every 4 batches: train it with trainer\.execution"
    ):
        looking.snapshots.of(first)
    again = looking(Task("helpful"))
    assert same(again, first)
    assert list(looking.snapshots.of(again)) == [4, 8, 10]


def test_vectors_that_are_trained_together_have_snapshots_each(looking, tmp_path):
    snapshots = [looking.snapshots.of(vector) for vector in looking.together(["helpful", "harmless"])]
    ended = shorter(looking, tmp_path, 4).together(["helpful", "harmless"])
    assert [list(one) for one in snapshots] == [[4, 8, 10], [4, 8, 10]]
    assert all(same(one[4], end) for one, end in zip(snapshots, ended, strict=True))


def test_a_negative_distance_of_snapshots_is_refused():
    with pytest.raises(ValueError, match=r"snapshot_every is -1: choose a whole number of at least 0"):
        ExecutionOptions(snapshot_every=-1)
