import math

import pytest
import torch

from mva.estimators.base import CriticBudget
from mva.estimators.club import CLUB
from mva.estimators.learned import adam, check_bound, compress, fit, mismatched
from mva.estimators.mine import MINE


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("d", [3, 8, 200])
def test_samples_come_centred_and_at_one_scale_in_one_dimension(d):
    compressed = compress(5 + 0.01 * rows(4, 30, d), 8)
    assert compressed.shape == (4, 30, 8)
    torch.testing.assert_close(compressed.mean(1), torch.zeros(4, 8, dtype=torch.float64))
    size = compressed[..., : min(d, 8)].square().mean((1, 2))
    torch.testing.assert_close(size, torch.ones(4, dtype=torch.float64))


def test_few_dimensions_are_kept_and_zeros_appended():
    x = rows(2, 30, 3)
    compressed = compress(x, 5)
    assert torch.equal(compressed[..., 3:], torch.zeros(2, 30, 2, dtype=torch.float64))
    correlations = torch.corrcoef(torch.cat([x[0].T, compressed[0, :, :3].T]))
    torch.testing.assert_close(correlations[:3, 3:].diagonal(), torch.ones(3, dtype=torch.float64))


def test_the_projection_is_fixed_and_linear():
    x, y = rows(1, 10, 100), rows(1, 10, 100, seed=1)
    torch.testing.assert_close(compress(torch.cat([x, y]), 4), torch.cat([compress(x, 4), compress(y, 4)]))


def test_constant_samples_are_zero_with_a_finite_gradient():
    x = torch.ones(1, 5, 30, requires_grad=True)
    compressed = compress(x, 4)
    (gradient,) = torch.autograd.grad(compressed.square().sum(), x)
    assert torch.equal(compressed, torch.zeros(1, 5, 4))
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("count", "shifts"), [(2, 2), (10, 3)])
def test_no_sample_is_its_own_wrong_partner(count, shifts):
    y = torch.arange(4.0).reshape(1, 4, 1)
    partners = mismatched(y, count)
    assert partners.shape == (1, shifts, 4, 1)
    assert (partners != y[:, None]).all()


def test_fitting_changes_the_critic_alone_and_leaves_it_frozen():
    x, y = rows(2, 8, 5).requires_grad_(), rows(2, 8, 5, seed=1)
    critic = CLUB(dimension=5, hidden=8).critic(seed=0).double()
    before = [p.detach().clone() for p in critic.parameters()]
    fit(critic, adam(critic, 1e-2), [(x, y)], steps=3)
    assert x.grad is None
    assert all(p.grad is None and not p.requires_grad for p in critic.parameters())
    assert not all(torch.equal(p, old) for p, old in zip(critic.parameters(), before, strict=True))


def test_fitting_lowers_the_loss():
    x = rows(2, 30, 5)
    critic = CLUB(dimension=5, hidden=16).critic(seed=0).double()
    optimizer = adam(critic, 1e-2)
    first = fit(critic, optimizer, [(x, x)], steps=1)
    assert fit(critic, optimizer, [(x, x)], steps=50) < first - 1


def test_a_critic_without_samples_is_left_as_it_is():
    critic = CLUB(dimension=5).critic(seed=0)
    assert fit(critic, adam(critic, 1e-2), [], steps=3) == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e5])
def test_a_diverged_critic_stops_with_a_sentence(value):
    critic = MINE().critic(seed=0)
    with pytest.raises(
        FloatingPointError, match=r"DonskerVaradhan has diverged.*lower estimator\.budget\.learning_rate"
    ):
        check_bound(critic, torch.tensor([0.0, value]))


@pytest.mark.parametrize("setting", [{"warmup": 0}, {"steps": -1}, {"learning_rate": 0.0}, {"learning_rate": math.nan}])
def test_refuses_a_budget_that_fits_nothing(setting):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))} is"):
        CriticBudget(**setting)
