"""Both layouts of a preference batch, spelled out by hand, and how pairs are cut into micro-batches."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch

from mva.data.packing import PADDING, cut, in_one_row, of_like_length, pack, pad, row_length
from mva.data.tokenization import TokenizedPair

LONG = TokenizedPair((11, 12), (21, 22), (31, 32, 33))
SHORT = TokenizedPair((41,), (51, 52), (61,))
PAD = 9


def targets(batch):
    columns = (batch.target_row, batch.target_position, batch.target_token, batch.target_sequence)
    return sorted(torch.stack(columns, dim=1).tolist(), key=lambda t: (t[3], t[1]))


def test_packed_pairs_share_one_row_of_prompt_chosen_and_rejected():
    batch = pack([LONG, SHORT])
    assert batch.input_ids.tolist() == [[11, 12, 21, 22, 31, 32, 33, 41, 51, 52, 61]]
    assert batch.attention_mask.tolist() == [[[[2, 2, 3], [1, 2, 1]]]]


def test_positions_start_again_with_every_prompt_and_behind_it_for_the_rejected_response():
    assert pack([LONG, SHORT]).position_ids.tolist() == [[0, 1, 2, 3, 2, 3, 4, 0, 1, 2, 1]]


def test_a_token_has_one_name_in_its_pair_whatever_the_layout():
    assert pack([LONG, SHORT]).places.tolist() == [[0, 2, 4, 6, 5, 7, 9, 0, 2, 4, 3]]
    assert pad([LONG, SHORT], pad_id=PAD).places[:, :3].tolist() == [[0, 2, 4], [0, 2, 4], [0, 2, 5], [0, 3, 4]]


def test_tokens_are_named_by_their_pair_and_place_and_whatever_else_is_given():
    both, alone = pack([LONG, SHORT]), replace(pack([SHORT]), index=torch.tensor([1]))
    keys = both.token_keys(7, 3)
    assert len(keys.unique()) == 11
    assert torch.equal(alone.token_keys(7, 3), keys[:, 7:])
    assert torch.equal(pad([LONG, SHORT], pad_id=PAD).token_keys(7, 3)[2], keys[0, [0, 1, 4, 5, 6]])
    assert not set(both.token_keys(7, 4).flatten().tolist()) & set(keys.flatten().tolist())


def test_in_a_packed_row_the_prompt_s_last_token_predicts_the_first_of_both_responses():
    assert targets(pack([LONG, SHORT])) == [
        [0, 1, 21, 0],
        [0, 2, 22, 0],
        [0, 7, 51, 1],
        [0, 8, 52, 1],
        [0, 1, 31, 2],
        [0, 4, 32, 2],
        [0, 5, 33, 2],
        [0, 7, 61, 3],
    ]


def test_a_prompt_may_have_any_number_of_responses():
    ids, positions, lengths = in_one_row([((1, 2), [(3,), (4, 5), (6,)]), ((7,), [(8,)])])
    assert ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert positions.tolist() == [[0, 1, 2, 2, 3, 2, 0, 1]]
    assert lengths.tolist() == [[[[2, 1, 2, 1], [1, 1, 0, 0]]]]


def test_plain_rows_are_all_chosen_then_all_rejected():
    batch = pad([LONG, SHORT], pad_id=PAD)
    assert batch.input_ids.tolist() == [
        [11, 12, 21, 22, PAD],
        [41, 51, 52, PAD, PAD],
        [11, 12, 31, 32, 33],
        [41, 61, PAD, PAD, PAD],
    ]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4]] * 4


def test_in_plain_rows_every_response_token_is_predicted_from_the_place_before_it():
    assert targets(pad([LONG, SHORT], pad_id=PAD)) == [
        [0, 1, 21, 0],
        [0, 2, 22, 0],
        [1, 0, 51, 1],
        [1, 1, 52, 1],
        [2, 1, 31, 2],
        [2, 2, 32, 2],
        [2, 3, 33, 2],
        [3, 0, 61, 3],
    ]


@pytest.mark.parametrize("layout", [pack, partial(pad, pad_id=PAD)], ids=["pack", "pad"])
def test_a_batch_counts_pairs_and_moves_whole_but_for_what_the_host_reads(layout):
    batch = layout([LONG, SHORT])
    assert len(batch) == 2
    assert batch.index.tolist() == [0, 1]
    assert batch.reference is None
    moved = batch.to("meta")
    assert moved.input_ids.is_meta
    assert moved.target_sequence.is_meta
    assert moved.reference is None
    assert moved.attention_mask.is_meta is not batch.packed


def test_what_belongs_to_a_pair_is_given_to_its_tokens():
    by_pair = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert pack([LONG, SHORT]).by_token(by_pair)[0, :, 1].tolist() == [0] * 7 + [1] * 4
    assert pad([LONG, SHORT], pad_id=PAD).by_token(by_pair)[:, 0, 1].tolist() == [0, 1, 0, 1]


def random_pairs(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 60, (n, 3), generator=generator).tolist()
    return [TokenizedPair(*((1,) * size for size in three)) for three in sizes]


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("tokens", [1, 300, 10**6])
def test_every_pair_is_in_one_micro_batch_which_stays_within_its_tokens_or_is_alone(tokens, padded):
    pairs = random_pairs(200)
    micro_batches = cut(pairs, tokens=tokens, padded=padded)
    assert sorted(place for places in micro_batches for place in places) == list(range(200))
    for places in micro_batches:
        batch = [pairs[place] for place in places]
        computed = (pad(batch, pad_id=0) if padded else pack(batch)).input_ids.numel()
        assert computed <= tokens or len(places) == 1
    if tokens > 10**5:
        assert (len(micro_batches) == 1) is not padded


def test_the_padding_of_like_rows_is_bounded_and_no_micro_batch_could_take_the_next_pair():
    pairs = random_pairs(1000)
    micro_batches = cut(pairs, tokens=10**6, padded=True)

    def padding(places):
        lengths = [row_length(pairs[place]) for place in places]
        return 1 - sum(lengths) / (len(lengths) * max(lengths))

    assert all(padding(places) <= PADDING for places in micro_batches if len(places) > 1)
    for places, behind in pairwise(micro_batches):
        assert padding([*places, behind[0]]) > PADDING


def test_texts_of_like_length_share_a_batch_and_nothing_is_a_batch_of_none():
    assert of_like_length([3, 100, 98, 96, 4, 3], tokens=250) == [[1, 2], [3], [4], [0, 5]]
    assert of_like_length([3, 100, 98, 96, 4, 3], tokens=1000) == [[1, 2, 3], [4], [0, 5]]
    assert of_like_length([], tokens=10) == []
    assert of_like_length([11, 12], tokens=10) == [[1], [0]]


def test_the_longest_pair_comes_first():
    pairs = random_pairs(50)
    lengths = [row_length(pairs[place]) for places in cut(pairs, tokens=500, padded=False) for place in places]
    assert lengths == sorted(lengths, reverse=True)
