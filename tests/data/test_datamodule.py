"""Item i is the batch of step i, from whichever step on."""

import itertools
from dataclasses import replace

import pytest
import torch

from mva.data.datamodule import (
    PreferenceDataModule,
    ResumableLoader,
    StepIndexedBatches,
    batches_in_order,
    shuffled_batches,
)
from mva.data.packing import pack
from mva.data.tokenization import TokenizedPair

PAIRS = [TokenizedPair((i,), (i + 10,), (i + 20, i + 30)) for i in range(1, 8)]
REFERENCE = torch.arange(14.0).view(7, 2)


def in_two(pairs):
    """At most two pairs a micro-batch, the last pair first."""
    places = [list(range(len(pairs)))[::-1][start : start + 2] for start in range(0, len(pairs), 2)]
    return [replace(pack([pairs[k] for k in some]), index=torch.tensor(some)) for some in places]


def steps(n_steps=6, batch_size=3, seed=0):
    rows = shuffled_batches(len(PAIRS), batch_size, n_steps=n_steps, seed=seed)
    return StepIndexedBatches(PAIRS, REFERENCE, rows, in_two)


def indices(steps):
    return [[row for batch in step for row in batch.index.tolist()][::-1] for step in steps]


def test_every_pair_comes_once_an_epoch_also_where_batches_reach_over_its_end():
    rows = shuffled_batches(7, 3, n_steps=7, seed=0)
    assert [len(batch) for batch in rows] == [3] * 7
    places = list(itertools.chain(*rows))
    epochs = [places[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_the_order_depends_on_the_seed_and_not_on_how_long_training_lasts():
    assert shuffled_batches(7, 3, n_steps=20, seed=5)[:4] == shuffled_batches(7, 3, n_steps=4, seed=5)
    assert shuffled_batches(7, 3, n_steps=4, seed=5) != shuffled_batches(7, 3, n_steps=4, seed=6)


def test_the_order_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    shuffled_batches(7, 3, n_steps=4, seed=5)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_may_be_larger_than_the_data():
    (batch,) = shuffled_batches(2, 5, n_steps=1, seed=0)
    assert sorted(batch[:2]) == sorted(batch[2:4]) == [0, 1]
    assert len(batch) == 5


@pytest.mark.parametrize(("n", "expected"), [(5, [[0, 1], [2, 3], [4]]), (2, [[0, 1]]), (0, [])])
def test_held_out_pairs_come_in_order(n, expected):
    assert batches_in_order(n, 2) == expected


def test_a_batch_holds_its_pairs_with_their_reference_log_probs():
    dataset = steps()
    assert indices(dataset[step] for step in range(len(dataset))) == dataset.rows
    for batch in itertools.chain(*(dataset[step] for step in range(len(dataset)))):
        rows = batch.index.tolist()
        assert torch.equal(batch.reference, REFERENCE[rows])
        assert [id_ for id_ in batch.input_ids[0].tolist() if id_ < 10] == [PAIRS[row].prompt[0] for row in rows]


def test_pairs_are_counted_among_those_of_their_owner():
    dataset = replace(steps(), owner=torch.tensor([0, 0, 0, 2, 2, 2, 2]))
    for step, rows in enumerate(dataset.rows):
        owners = [owner for batch in dataset[step] for owner in batch.owner.tolist()][::-1]
        assert owners == [0 if row < 3 else 2 for row in rows]
        assert indices([dataset[step]])[0] == [row if row < 3 else row - 3 for row in rows]


@pytest.mark.parametrize("done", range(7))
def test_a_loader_goes_on_at_any_step(done):
    first = ResumableLoader(steps())
    before = indices(itertools.islice(first, done))
    second = ResumableLoader(steps())
    second.load_state_dict(first.state_dict())
    assert before + indices(second) == steps().rows
    assert len(second) == 6


def test_a_finished_loader_starts_again():
    loader = ResumableLoader(steps())
    assert indices(loader) == indices(loader) == steps().rows


def test_the_data_module_hands_out_both_splits_and_moves_batches_whole():
    held_out = StepIndexedBatches(PAIRS, REFERENCE, batches_in_order(7, 4), in_two)
    data = PreferenceDataModule(steps(), held_out)
    assert indices(data.train_dataloader()) == steps().rows
    assert indices(data.val_dataloader()) == [[0, 1, 2, 3], [4, 5, 6]]
    moved = data.transfer_batch_to_device(held_out[0], torch.device("meta"), 0)
    assert [len(batch) for batch in moved] == [2, 2]
    assert all(batch.input_ids.is_meta and batch.reference.is_meta for batch in moved)
