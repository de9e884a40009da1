import math

import pytest
import torch

from mva.estimators.club import CLUB, club, club_sample
from mva.estimators.learned import adam, fit


def gaussian_pairs(n, d, rho, *, modules=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, modules, n, d, generator=generator, dtype=torch.float64)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def conditional(x, rho):
    """Mean and log-variance of the true q(y|x)."""
    return rho * x, torch.full_like(x, math.log(1 - rho**2))


@pytest.mark.parametrize("bound", [club, club_sample])
@pytest.mark.parametrize(("d", "rho"), [(1, 0.5), (4, 0.5), (3, 0.8), (4, 0.0)])
def test_with_the_true_conditional_it_is_the_closed_form(bound, d, rho):
    x, y = gaussian_pairs(100_000, d, rho)
    expected = d * rho**2 / (1 - rho**2)
    assert bound(y, *conditional(x, rho)).item() == pytest.approx(expected, rel=0.03, abs=0.03)


def test_equals_all_pairs_written_out():
    x, y = gaussian_pairs(6, 2, 0.7, modules=3)
    mean, log_variance = 0.5 * x + 0.1, 0.3 * x
    gaussian = torch.distributions.Normal(mean[:, :, None], (log_variance / 2).exp()[:, :, None])
    log_q = gaussian.log_prob(y[:, None]).sum(-1)  # (modules, i of x, j of y)
    expected = log_q.diagonal(dim1=1, dim2=2).mean(-1) - log_q.mean((1, 2))
    torch.testing.assert_close(club(y, mean, log_variance), expected)


def test_the_sampled_form_equals_the_next_partner_written_out():
    x, y = gaussian_pairs(5, 2, 0.7)
    mean, log_variance = 0.5 * x, 0.3 * x
    gaussian = torch.distributions.Normal(mean, (log_variance / 2).exp())
    expected = (gaussian.log_prob(y) - gaussian.log_prob(y[:, [4, 0, 1, 2, 3]])).sum(-1).mean(-1)
    torch.testing.assert_close(club_sample(y, mean, log_variance), expected)


@pytest.mark.parametrize("sampled", [False, True])
def test_a_trained_critic_stays_above_the_truth_and_rises_with_correlation(sampled):
    d, found = 4, []
    for rho in (0.0, 0.4, 0.7):
        critic = CLUB(dimension=d, sampled=sampled).critic(seed=0).double()
        fit(critic, adam(critic, 5e-3), [gaussian_pairs(1500, d, rho)], steps=150)
        found.append(critic(*gaussian_pairs(4000, d, rho, seed=1)).item())
        assert found[-1] > -d / 2 * math.log(1 - rho**2) - 0.1
        assert found[-1] == pytest.approx(d * rho**2 / (1 - rho**2), abs=0.35)
    assert found == sorted(found)


def test_fitting_is_by_maximum_likelihood():
    x, y = gaussian_pairs(200, 2, 0.7)
    critic = CLUB(dimension=2).critic(seed=0).double()
    small_x, small_y = critic.compress(x, y)
    mean, log_variance = critic._conditional(small_x)
    expected = -torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(small_y).sum(-1).mean()
    torch.testing.assert_close(critic.fit_loss(x, y), expected - math.log(2 * math.pi))
