import pytest
import torch

from mva.estimators.chance import chance_level
from mva.estimators.correlation import Correlation
from mva.estimators.none import NoDependence
from mva.estimators.normalized_hsic import NormalizedHSIC
from mva.estimators.samples import FactorRows, Update, UpdateRows
from mva.models.value_vector import LowRank


def generator(seed=100):
    return torch.Generator().manual_seed(seed)


def vector(seed, modules=8, rank=2, d_in=6, d_out=5):
    g = generator(seed)
    return {
        f"layer{i}": LowRank(
            torch.randn(rank, d_in, generator=g, dtype=torch.float64),
            torch.randn(d_out, rank, generator=g, dtype=torch.float64),
            1.0,
        )
        for i in range(modules)
    }


def test_the_squared_cosine_at_chance_is_one_over_the_number_of_entries_a_module():
    chance = chance_level(Correlation(), Update(), vector(0), vector(1), draws=400, generator=generator())
    assert chance.mean == pytest.approx(8 / 30, rel=0.1)
    assert abs(chance.z) < 3


def test_a_vector_stands_far_above_chance_with_itself():
    chance = chance_level(Correlation(), Update(), vector(0), vector(0), draws=50, generator=generator())
    assert chance.measured == pytest.approx(8)
    assert chance.z > 20


def test_redraws_keep_the_scale_of_the_factors():
    class Squares:
        views = frozenset({"update"})
        default_view = Update()

        def __call__(self, x, y):
            return y.a.square().mean((-2, -1)) + y.b.square().mean((-2, -1))

    other = {"layer0": LowRank(torch.full((40, 60), 3.0), torch.zeros(50, 40), 1.0)}
    chance = chance_level(Squares(), Update(), other, other, draws=5, generator=generator())
    assert chance.measured == pytest.approx(9)
    assert chance.mean == pytest.approx(9, rel=0.05)


def test_the_same_generator_state_gives_the_same_level():
    first, second = (
        chance_level(Correlation(), Update(), vector(0), vector(1), draws=5, generator=generator(7)) for _ in range(2)
    )
    assert first == second


def test_a_chance_that_does_not_vary_has_no_z():
    chance = chance_level(NoDependence(), Update(), vector(0), vector(1), draws=3, generator=generator())
    assert (chance.measured, chance.mean, chance.z) == (0, 0, None)


def test_z_counts_standard_deviations_over_permutations_that_keep_the_singular_values():
    seen = []

    class Alignment:
        views = frozenset({"update"})
        default_view = Update()

        def __call__(self, x, y):
            seen.append((y.b @ y.a)[0])
            return ((x.b @ x.a) * (y.b @ y.a)).sum((-2, -1))

    x = vector(0, modules=1)
    chance = chance_level(Alignment(), Update(), x, x, draws=30, generator=generator())
    spectra = [torch.linalg.svdvals(update) for update in seen]
    permuted = seen[31:]
    values = torch.stack([(seen[0] * update).sum() for update in permuted])
    assert chance.z == pytest.approx(((chance.measured - values.mean()) / values.std()).item())
    assert all(torch.allclose(spectra[0], spectrum) for spectrum in spectra[31:])
    assert not any(torch.allclose(seen[0], update) for update in permuted)


@pytest.mark.parametrize("view", [FactorRows("A"), FactorRows("B"), UpdateRows()], ids=str)
def test_permutations_part_the_rows_of_every_view_from_their_partners(view):
    x = vector(0, rank=8, d_in=30, d_out=30)
    chance = chance_level(NormalizedHSIC(), view, x, x, draws=20, generator=generator())
    assert chance.measured == pytest.approx(8)
    assert chance.z > 5


def test_refuses_a_single_draw():
    with pytest.raises(ValueError, match="at least 2 draws"):
        chance_level(Correlation(), Update(), vector(0), vector(1), draws=1, generator=generator())
