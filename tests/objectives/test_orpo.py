import math

import pytest
import torch

from mva.objectives.orpo import ORPO


def log(*probabilities):
    return torch.tensor(probabilities, dtype=torch.float64).log()


def test_the_loss_is_the_likelihood_and_the_odds_ratio():
    # Odds 3 against 1: sigmoid(log 3) = 3/4. Odds 1 against 1/3: the same. Odds 1 against 3: 1/4.
    chosen, rejected = log(3 / 4, 1 / 2, 1 / 2), log(1 / 2, 1 / 4, 3 / 4)
    losses, chosen_rewards, rejected_rewards = ORPO(beta=0.1)(chosen, rejected, chosen, rejected)
    expected = [1.1 * math.log(4 / 3), math.log(2) + 0.1 * math.log(4 / 3), math.log(2) + 0.1 * math.log(4)]
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(chosen_rewards, 0.1 * chosen)
    torch.testing.assert_close(rejected_rewards, 0.1 * rejected)


def test_odds_are_exact_near_certainty_and_near_impossibility():
    # log odds: of 1 - 1e-9 it is 9 log 10 (up to 1e-9), of exp(-50) it is -50.
    nearly, hardly = torch.tensor([-1e-9], dtype=torch.float64), torch.tensor([-50.0], dtype=torch.float64)
    losses, _, _ = ORPO(beta=1.0)(hardly, nearly, nearly, nearly)
    assert losses.item() == pytest.approx(50 + 50 + 9 * math.log(10), rel=1e-9)


def test_a_certain_response_has_a_finite_gradient():
    chosen = torch.zeros(1, requires_grad=True)
    losses, _, _ = ORPO()(chosen, torch.full((1,), -1.0), chosen, chosen)
    (gradient,) = torch.autograd.grad(losses.sum(), chosen)
    assert losses.item() == pytest.approx(0, abs=1e-6)
    assert gradient.item() == -1, "the likelihood's alone"


def test_the_reference_policy_is_not_looked_at():
    chosen, rejected, unknown = log(0.4, 0.6), log(0.5, 0.1), log(1.0, 1.0) * torch.nan
    for result, known in zip(
        ORPO()(chosen, rejected, unknown, unknown), ORPO()(chosen, rejected, chosen, rejected), strict=True
    ):
        assert torch.equal(result, known)


@pytest.mark.parametrize("beta", [0.0, -0.1, float("nan"), float("inf")])
def test_refuses_a_beta_that_is_not_positive(beta):
    with pytest.raises(ValueError, match=r"^beta is .*: choose a number above 0"):
        ORPO(beta=beta)
