import math

import pytest
import torch

from mva.estimators.info_nce import InfoNCE, info_nce
from mva.estimators.learned import adam, fit


def gaussian_pairs(n, d, rho, *, modules=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, modules, n, d, generator=generator, dtype=torch.float64)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def test_known_scores_give_the_hand_derived_bound():
    # One of K = 3 with probability 4 / (4 + 1 + 3): log(3 * 1/2).
    true = torch.tensor([[math.log(4.0)]])
    wrong = torch.tensor([[[0.0], [math.log(3.0)]]])
    assert info_nce(true, wrong).item() == pytest.approx(math.log(1.5))


@pytest.mark.parametrize("negatives", [1, 7])
def test_it_is_at_most_log_k_however_sure_the_critic(negatives):
    bound = info_nce(torch.full((2, 5), 1e6), torch.zeros(2, negatives, 5))
    torch.testing.assert_close(bound, torch.full((2,), math.log(negatives + 1)))


def test_a_critic_that_knows_nothing_gives_exactly_zero():
    x, y = gaussian_pairs(20, 3, 0.9)
    assert InfoNCE(dimension=3).critic(seed=0).double()(x, y).item() == pytest.approx(0, abs=1e-12)


def test_a_trained_critic_stays_below_the_truth_and_rises_with_correlation():
    d, found = 4, []
    for rho in (0.0, 0.4, 0.7):
        critic = InfoNCE(dimension=d).critic(seed=0).double()
        fit(critic, adam(critic, 5e-3), [gaussian_pairs(1000, d, rho)], steps=80)
        found.append(critic(*gaussian_pairs(4000, d, rho, seed=1)).item())
        assert found[-1] < -d / 2 * math.log(1 - rho**2) + 0.05
    assert found == sorted(found)
    assert found[-1] > 0.6 * -d / 2 * math.log(1 - 0.49)
