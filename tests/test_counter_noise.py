"""Numbers by key and place: even, unrelated between neighbours, and the same wherever and whenever they are drawn."""

import math
import time

import pytest
import torch
from scipy import stats

from mva.counter_noise import bits, combined, uniform

CONSECUTIVE = torch.arange(2000)
KEYS = {
    "combined": combined(7, CONSECUTIVE),
    "consecutive": CONSECUTIVE,
    "in the upper half": CONSECUTIVE << 32,
    "negative": -CONSECUTIVE,
}


def by_hand(key, place):
    """The same hash in whole numbers of any size."""
    x = (key + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    x ^= x >> 31
    y = (place * 0x9E3779B9 + x) % 2**32
    y = (y ^ (y >> 16)) * 0x7FEB352D % 2**32 ^ (x >> 32)
    y = (y ^ (y >> 15)) * 0x846CA68B % 2**32
    return (y ^ (y >> 16)) % 2**31


def test_the_numbers_are_the_hash_that_is_written_down():
    for key in (0, 1, -1, 2**63 - 1, -(2**63), 123456789):
        drawn = bits(torch.tensor(key), 300).tolist()
        assert drawn == [by_hand(key, place) for place in range(300)]


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_numbers_are_even_and_neighbours_unrelated(keys):
    drawn = uniform(keys, 1000).double()
    assert 0 < drawn.min() < 1e-5
    assert 1 - 1e-5 < drawn.max() < 1
    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-4
    of_keys = [stats.kstest(row.numpy(), "uniform").pvalue for row in drawn[:300]]
    of_places = [stats.kstest(column.numpy(), "uniform").pvalue for column in drawn.T[:300]]
    assert stats.kstest(of_keys, "uniform").pvalue > 1e-4
    assert stats.kstest(of_places, "uniform").pvalue > 1e-4
    z = (drawn - 0.5) * math.sqrt(12)
    for lag in (1, 2, 3, 64):
        for first, second in (
            (z[lag:], z[:-lag]),
            (z[:, lag:], z[:, :-lag]),
            (z[lag:, lag:], z[:-lag, :-lag]),
            (z[lag:, :-lag], z[:-lag, lag:]),
        ):
            assert abs((first * second).sum()) / math.sqrt(first.numel()) < 5, "correlation, in standard errors"


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_every_bit_is_even_and_unrelated_to_all_bits_of_its_neighbours(keys):
    drawn = bits(keys, 500)
    signs = torch.stack([(drawn >> place & 1).float() * 2 - 1 for place in range(31)])
    assert signs.mean(dim=(1, 2)).abs().max() * math.sqrt(drawn.numel()) < 5
    for first, second in ((signs[:, 1:], signs[:, :-1]), (signs[:, :, 1:], signs[:, :, :-1])):
        between = first.flatten(1) @ second.flatten(1).T / math.sqrt(first[0].numel())
        assert between.abs().max() < 5.5
        assert between.std() == pytest.approx(1, abs=0.15)


def test_a_number_depends_on_its_key_and_place_alone():
    keys = combined(3, torch.arange(40)[:, None], torch.arange(5))
    drawn = uniform(keys, 64)
    assert drawn.shape == (40, 5, 64)
    assert torch.equal(drawn, uniform(keys, 64))
    assert torch.equal(drawn[7, 2], uniform(keys[7, 2], 100)[:64])
    assert torch.equal(drawn.flatten(0, 1), uniform(keys.flatten(), 64))
    many = combined(torch.arange(5))
    assert torch.equal(uniform(many, 100_000)[3], uniform(many[3], 100_000))
    assert uniform(many[:0], 7).shape == (0, 7)
    assert uniform(many, 0).shape == (5, 0)


def test_keys_know_all_their_parts_and_their_order():
    parts = torch.arange(300)
    keys = torch.cat([combined(parts[:, None], parts).flatten(), combined(parts)])
    assert len(keys.unique()) == len(keys)
    assert combined(1, 2) != combined(2, 1)
    assert combined(5, 2**62) == combined(torch.tensor(5), torch.tensor(2**62))


def test_the_tail_near_0_is_fine_enough_for_gumbel_noise():
    exponential = -torch.log1p(-uniform(combined(torch.arange(5000)), 1000))
    assert exponential.min() < 1e-6
    gumbel = -exponential.log()
    assert stats.kstest(gumbel.flatten().double().numpy(), "gumbel_r").pvalue > 1e-4
    assert torch.isfinite(gumbel).all()


def test_keys_of_another_type_are_refused():
    with pytest.raises(ValueError, match=r"int64, not torch\.int32"):
        bits(torch.arange(3, dtype=torch.int32), 4)


def test_drawing_takes_no_longer_than_torch_rand_by_much():
    keys = combined(torch.arange(500))

    def seconds(draw):
        start = time.process_time()
        draw()
        return time.process_time() - start

    turns = [(seconds(lambda: uniform(keys, 576)), seconds(lambda: torch.rand(500, 576))) for _ in range(30)]
    ours, torchs = (min(times) for times in zip(*turns, strict=True))
    assert ours < 3 * torchs  # measured: 0.7
