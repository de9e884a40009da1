import math

import pytest
import torch

from mva.estimators.learned import adam, fit
from mva.estimators.mine import AVERAGE_RATE, MINE, donsker_varadhan
from mva.estimators.scores import MAX_SCORE


def gaussian_pairs(n, d, rho, *, modules=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, modules, n, d, generator=generator, dtype=torch.float64)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def optimal_score(x, y, rho):
    """The log density ratio of d correlated Gaussian pairs."""
    above = 2 * rho * x * y - rho**2 * (x**2 + y**2)
    return (above / (2 * (1 - rho**2)) - 0.5 * math.log(1 - rho**2)).sum(-1)


@pytest.mark.parametrize(("d", "rho"), [(1, 0.5), (3, 0.4), (2, 0.0)])
def test_at_the_optimal_critic_the_bound_is_the_mutual_information(d, rho):
    x, y = gaussian_pairs(200_000, d, rho)
    wrong = torch.stack([optimal_score(x, y.roll(shift, 1), rho) for shift in (1, 2)], dim=1)
    bound = donsker_varadhan(optimal_score(x, y, rho), wrong)
    assert bound.item() == pytest.approx(-d / 2 * math.log(1 - rho**2), abs=0.02)


def test_a_constant_added_to_the_scores_changes_nothing():
    true, wrong = torch.randn(2, 5).double(), torch.randn(2, 3, 5).double()
    torch.testing.assert_close(donsker_varadhan(true + 7, wrong + 7), donsker_varadhan(true, wrong))


def test_known_scores_give_the_hand_derived_bound():
    true = torch.tensor([[1.0, 3.0]])
    wrong = torch.tensor([[[0.0, math.log(3.0)]]])
    assert donsker_varadhan(true, wrong).item() == pytest.approx(2 - math.log(2))


def test_a_trained_critic_stays_below_the_truth_and_rises_with_correlation():
    d, found = 4, []
    for rho in (0.0, 0.4, 0.7):
        critic = MINE(dimension=d).critic(seed=0).double()
        fit(critic, adam(critic, 5e-3), [gaussian_pairs(1500, d, rho)], steps=80)
        found.append(critic(*gaussian_pairs(4000, d, rho, seed=1)).item())
        assert found[-1] < -d / 2 * math.log(1 - rho**2) + 0.05
    assert found == sorted(found)
    assert found[-1] > 0.75 * -d / 2 * math.log(1 - 0.49)


def test_the_loss_is_the_negative_bound_and_its_gradient_has_the_moving_average_for_denominator():
    x, y = gaussian_pairs(40, 2, 0.7)
    critic = MINE(dimension=2).critic(seed=0).double()
    torch.nn.init.normal_(critic.network[-1].weight, std=0.5, generator=torch.Generator().manual_seed(1))
    loss = critic.fit_loss(x, y)
    true, wrong = critic.scores(x, y)
    torch.testing.assert_close(loss, -donsker_varadhan(true, wrong).squeeze())
    average = (1 - AVERAGE_RATE) * 1.0 + AVERAGE_RATE * wrong.exp().mean()
    torch.testing.assert_close(critic.log_average.exp(), average)
    surrogate = wrong.exp().mean() / average.detach() - true.mean()
    weights = list(critic.parameters())
    for found, expected in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(surrogate, weights), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_scores_stay_within_their_limit_however_far_the_network_goes():
    x, y = gaussian_pairs(10, 2, 0.7)
    critic = MINE(dimension=2).critic(seed=0).double()
    torch.nn.init.constant_(critic.network[-1].weight, 1e6)
    true, wrong = critic.scores(x, y)
    assert torch.cat([true.flatten(), wrong.flatten()]).abs().max().item() == pytest.approx(MAX_SCORE)
