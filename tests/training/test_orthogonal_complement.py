"""OrthAlign's constraint, on matrices whose answer is known."""

from dataclasses import replace

import pytest
import torch

from mva.models.value_vector import LowRank
from mva.training.orthogonal_complement import OrthogonalComplement
from mva.training.task import Task


def factor(seed, rank=2, scaling=0.5):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, 7, generator=generator, dtype=torch.float64)
    return LowRank(a, torch.randn(9, rank, generator=generator, dtype=torch.float64), scaling)


def project(constraint, earlier, current):
    constraint.prepare([{"m": one} for one in earlier])({"m": current})
    return current


@pytest.mark.parametrize("n_earlier", [1, 3])
def test_what_is_added_is_orthogonal_to_all_earlier_updates(n_earlier):
    earlier = [factor(seed) for seed in range(n_earlier)]
    current = project(OrthogonalComplement(energy=1.0), earlier, factor(9))
    for one in earlier:
        torch.testing.assert_close(one.update().T @ current.update(), torch.zeros(7, 7, dtype=torch.float64))
    assert current.update().norm() > 0.1


def test_less_energy_closes_the_leading_directions_alone():
    b = torch.zeros(9, 2, dtype=torch.float64)
    b[0, 0], b[1, 1] = 3.0, 1.0  # 90 % of the energy points along the first axis
    earlier = LowRank(torch.eye(2, 7, dtype=torch.float64), b, 1.0)
    current = project(OrthogonalComplement(energy=0.9, spectral_bound=float("inf")), [earlier], factor(9))
    assert current.update()[0].abs().max() < 1e-12
    assert torch.equal(current.update()[1:], factor(9).update()[1:])


def test_the_spectral_norm_is_bounded():
    earlier, huge = factor(0), factor(9, scaling=1e3)
    current = project(OrthogonalComplement(energy=1.0, spectral_bound=2.0), [earlier], huge)
    bound = 2.0 * torch.linalg.matrix_norm(earlier.update(), 2)
    torch.testing.assert_close(torch.linalg.matrix_norm(current.update(), 2), bound)


def test_to_project_twice_is_to_project_once():
    constraint = OrthogonalComplement()
    once = project(constraint, [factor(0)], factor(9)).update()
    twice = project(constraint, [factor(0)], project(constraint, [factor(0)], factor(9))).update()
    torch.testing.assert_close(twice, once)


def test_modules_that_no_earlier_vector_adapts_are_free():
    current = factor(9)
    OrthogonalComplement().prepare([{"other": factor(0)}])({"m": current})
    assert torch.equal(current.update(), factor(9).update())


@pytest.mark.parametrize("settings", [{"energy": 0.0}, {"energy": 1.1}, {"spectral_bound": 0.0}])
def test_settings_that_bound_nothing_are_refused(settings):
    with pytest.raises(ValueError, match=r"^(energy|spectral_bound) is"):
        OrthogonalComplement(**settings)


def test_a_trained_vector_stays_in_the_complement_and_still_learns(fitter):
    fitter = replace(fitter, recipe=replace(fitter.recipe, steps=30))
    first = fitter(Task("helpful"))
    second = fitter(Task("harmless", earlier=(first,), constraint=OrthogonalComplement(energy=1.0)))
    free = fitter(Task("harmless"))
    assert second.key != free.key
    for name, one in second.factors.items():
        before = first.factors[name].update()
        assert (before.T @ one.update()).norm() < 1e-5 * before.norm() * one.update().norm() + 1e-9
    accuracy = [m["train/harmless/accuracy"] for _, m in fitter.log.lines if "train/harmless/accuracy" in m][:30]
    assert sum(accuracy[-8:]) / 8 > 0.9
