import pytest
import torch

from mva.composition.dare import Dare
from mva.composition.linear import Linear
from mva.composition.ties import Ties
from mva.composition.updates import full_rank
from mva.models.value_vector import LowRank, ValueVector

OMEGA = {"first": 0.5, "second": 2.0}


def vector(value, seed, shape=(20, 30)):
    generator = torch.Generator().manual_seed(seed)
    return ValueVector(
        value,
        {m: full_rank(torch.randn(shape, generator=generator, dtype=torch.float64)) for m in ("m", "n")},
        "base",
    )


@pytest.fixture
def vectors():
    return [vector("first", 1), vector("second", 2)]


def update(composition, vectors, omega=OMEGA, module="m"):
    return composition.compose(vectors, omega).factors[module].update()


def alone(composition, vectors, value, module="m"):
    return update(composition, vectors, {v.value: float(v.value == value) for v in vectors}, module)


def test_an_entry_is_dropped_or_rescaled(vectors):
    original, sparse = vectors[0].factors["m"].update(), alone(Dare(drop=0.75), vectors, "first")
    kept = sparse != 0
    torch.testing.assert_close(sparse[kept], 4 * original[kept])
    # 600 entries, each kept with probability 1/4: three standard deviations are 0.053.
    assert kept.double().mean() == pytest.approx(0.25, abs=0.053)


def test_in_the_mean_over_masks_it_is_the_linear_combination(vectors):
    linear = update(Linear(), vectors)
    mean = torch.stack([update(Dare(drop=0.5, seed=seed), vectors) for seed in range(400)]).mean(dim=0)
    # Its noise: variance drop / (1 - drop) * omega_i^2 theta_i^2 an entry, over 400 masks.
    noise = torch.stack([OMEGA[v] * alone(Linear(), vectors, v) for v in OMEGA]).norm() / 20
    assert float((mean - linear).norm() / noise) == pytest.approx(1, abs=0.2)


def test_the_masks_are_the_same_for_all_coefficients(vectors):
    parts = [OMEGA[v] * alone(Dare(), vectors, v) for v in OMEGA]
    torch.testing.assert_close(update(Dare(), vectors), parts[0] + parts[1])


def test_vectors_modules_and_seeds_have_masks_of_their_own(vectors):
    masks = [
        alone(Dare(), vectors, "first") != 0,
        alone(Dare(), vectors, "second") != 0,
        alone(Dare(), vectors, "first", "n") != 0,
        alone(Dare(seed=1), vectors, "first") != 0,
    ]
    for i, mask in enumerate(masks):
        for other in masks[:i]:
            assert (mask & other).double().mean() == pytest.approx(0.25, abs=0.06), "as independent masks overlap"


def test_global_randomness_plays_no_part(vectors):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = update(Dare(), vectors)
        torch.manual_seed(2)
        assert torch.equal(first, update(Dare(), vectors))


def test_with_ties_the_sparse_vectors_elect_signs(vectors):
    sparse = [ValueVector(v, {"m": full_rank(alone(Dare(), vectors, v))}, "base") for v in OMEGA]
    expected = update(Ties(density=1), sparse)
    torch.testing.assert_close(update(Dare(then=Ties(density=1)), vectors), expected)


def test_ranks_do_not_add_up_beyond_the_smaller_side(vectors):
    assert Dare().compose(vectors, OMEGA).rank == 20


def test_low_rank_vectors_lose_entries_of_the_update_not_of_the_factors():
    ones = ValueVector("first", {"m": LowRank(torch.ones(1, 50), torch.ones(40, 1), 1.0)}, "base")
    kept = update(Dare(), [ones], {"first": 1.0}) != 0
    assert kept.any(dim=0).all()  # a dropped entry of A would empty a column, one of B a row
    assert kept.any(dim=1).all()


@pytest.mark.parametrize("drop", [1.0, -0.1])
def test_refuses_a_probability_that_is_none(drop):
    with pytest.raises(ValueError, match=r"^drop is .*: choose a number of at least 0 and below 1"):
        Dare(drop=drop)
