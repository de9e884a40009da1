import math

import pytest
import torch

from mva.objectives.simpo import SimPO


def test_a_margin_that_exceeds_gamma_by_the_logarithm_of_three_gives_the_logarithm_of_four_thirds():
    # beta * (chosen - rejected) - gamma = 2 * (log 3 + 1) / 2 - 1 = log 3, and sigmoid(log 3) = 3/4.
    rejected = torch.full((1,), -2.0, dtype=torch.float64)
    chosen = rejected + (math.log(3) + 1) / 2
    losses, chosen_rewards, rejected_rewards = SimPO(beta=2.0, gamma=1.0)(chosen, rejected, rejected, rejected)
    assert losses.item() == pytest.approx(math.log(4 / 3))
    assert chosen_rewards.item() == pytest.approx(math.log(3) - 3)
    assert rejected_rewards.item() == -4


def test_a_pair_that_just_reaches_the_margin_loses_the_logarithm_of_two():
    zero = torch.zeros(1, dtype=torch.float64)
    losses, _, _ = SimPO(beta=2.0, gamma=1.0)(zero, zero - 0.5, zero, zero)
    assert losses.item() == pytest.approx(math.log(2))


def test_the_reference_policy_is_not_looked_at():
    policy = -torch.rand(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unknown = torch.full((4,), torch.nan, dtype=torch.float64)
    for result, known in zip(SimPO()(*policy, unknown, unknown), SimPO()(*policy, *policy), strict=True):
        assert torch.equal(result, known)


@pytest.mark.parametrize("setting", [{"beta": 0.0}, {"gamma": -0.1}, {"gamma": float("nan")}], ids=str)
def test_refuses_settings_without_a_meaning(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=f"^{name} is"):
        SimPO(**setting)
