import pytest
import torch

from mva.objectives.ipo import IPO

ZERO = torch.zeros(3, dtype=torch.float64)


def test_the_loss_is_the_squared_distance_of_the_margin_from_its_target():
    # beta 0.1 asks for 1 / 0.2 = 5. Margins: (3 - 1) - (-2 - 1) = 5, then 2 and 0.
    policy_chosen = torch.tensor([3.0, 2.0, 0.0], dtype=torch.float64)
    policy_rejected = torch.tensor([-2.0, 0.0, 0.0], dtype=torch.float64)
    reference = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    losses, chosen, rejected = IPO(beta=0.1)(policy_chosen, policy_rejected, reference, reference)
    torch.testing.assert_close(losses, torch.tensor([0.0, 9.0, 25.0], dtype=torch.float64))
    torch.testing.assert_close(chosen, torch.tensor([0.2, 0.2, 0.0], dtype=torch.float64))
    torch.testing.assert_close(rejected, torch.tensor([-0.3, 0.0, 0.0], dtype=torch.float64))


def test_a_margin_beyond_the_target_is_pulled_back():
    chosen = torch.tensor([4.0, 5.0, 6.0], dtype=torch.float64, requires_grad=True)
    losses, _, _ = IPO(beta=0.1)(chosen, ZERO, ZERO, ZERO)
    (gradient,) = torch.autograd.grad(losses.sum(), chosen)
    torch.testing.assert_close(gradient, torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize("beta", [0.0, -0.1, float("nan"), float("inf")])
def test_refuses_a_beta_that_is_not_positive(beta):
    with pytest.raises(ValueError, match=r"^beta is .*: choose a number above 0"):
        IPO(beta=beta)
