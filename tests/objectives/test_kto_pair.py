import math

import pytest
import torch

from mva.objectives.kto_pair import KTOPair


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


ZERO = tensor(0, 0)
LOG3 = math.log(3)


def test_responses_are_measured_against_the_mean_log_ratio_of_the_other_half():
    # Chosen log-ratios 2 +- log 3, mean 2; rejected ones 1 +- log 3, mean 1: in the losses' sigmoids are
    # 2 + log 3 - 1 and 2 - log 3 - 1 of the chosen responses, 2 - 1 - log 3 and 2 - 1 + log 3 of the rejected ones.
    chosen, rejected = tensor(2 + LOG3, 2 - LOG3), tensor(1 + LOG3, 1 - LOG3)
    losses, chosen_rewards, rejected_rewards = KTOPair(beta=1.0)(chosen - 5, rejected - 7, ZERO - 5, ZERO - 7)
    good, bad = math.e * 3 / (1 + math.e * 3), math.e / 3 / (1 + math.e / 3)  # sigmoid(1 + log 3), sigmoid(1 - log 3)
    torch.testing.assert_close(losses, tensor((1 - good) + (1 - bad), (1 - bad) + (1 - good)))
    torch.testing.assert_close(chosen_rewards, chosen)
    torch.testing.assert_close(rejected_rewards, rejected)


def test_a_reference_point_is_never_negative():
    # Both means are below zero: 1 - sigmoid(0.1 * 10 log 3) = 1/4 and 1 - sigmoid(log 3) = 1/4; then 3/4 and 1/4.
    chosen, rejected = tensor(10 * LOG3, -10 * LOG3) - tensor(0, 1e-12), tensor(-10 * LOG3, -10 * LOG3)
    losses, _, _ = KTOPair(beta=0.1)(chosen, rejected, ZERO, ZERO)
    torch.testing.assert_close(losses, tensor(1 / 2, 1))


def test_a_policy_that_is_the_reference_loses_one_a_pair():
    losses, _, _ = KTOPair()(ZERO - 3, ZERO - 4, ZERO - 3, ZERO - 4)
    assert losses.tolist() == [1, 1]


def test_no_gradient_flows_through_the_reference_points():
    # As above: the slope of a sigmoid s is s (1 - s), here with s = 1/4 or 3/4 around reference points of 1.
    chosen, rejected = tensor(1 + LOG3, 1 - LOG3).requires_grad_(), tensor(1 - LOG3, 1 + LOG3).requires_grad_()
    losses, _, _ = KTOPair(beta=1.0)(chosen, rejected, ZERO, ZERO)
    torch.testing.assert_close(losses.detach(), tensor(1 / 2, 3 / 2))
    up, down = torch.autograd.grad(losses.sum(), (chosen, rejected))
    torch.testing.assert_close(up, tensor(-3 / 16, -3 / 16))
    torch.testing.assert_close(down, tensor(3 / 16, 3 / 16))


def test_a_hopeless_pair_is_given_up():
    chosen = tensor(-1000, 0).requires_grad_()
    losses, _, _ = KTOPair(beta=1.0)(chosen, ZERO, ZERO, ZERO)
    gradient = torch.autograd.grad(losses.sum(), chosen)[0]
    assert losses.detach().tolist() == [1.5, 1]
    assert gradient.tolist() == [0, -1 / 4]


@pytest.mark.parametrize("beta", [0.0, -0.1, float("nan"), float("inf")])
def test_refuses_a_beta_that_is_not_positive(beta):
    with pytest.raises(ValueError, match=r"^beta is .*: choose a number above 0"):
        KTOPair(beta=beta)
