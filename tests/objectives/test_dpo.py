import math

import pytest
import torch

from mva.fingerprint import describe
from mva.objectives.base import length_normalised
from mva.objectives.dpo import DPO


def log_probs(n=6, seed=0):
    return -30 * torch.rand(4, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_policy_that_is_the_reference_loses_the_logarithm_of_two():
    chosen, rejected, *_ = log_probs()
    losses, chosen_rewards, rejected_rewards = DPO()(chosen, rejected, chosen, rejected)
    torch.testing.assert_close(losses, torch.full_like(losses, math.log(2)))
    assert not chosen_rewards.any()
    assert not rejected_rewards.any()


def test_a_margin_of_the_logarithm_of_three_gives_the_logarithm_of_four_thirds():
    # sigmoid(log 3) = 3/4: beta * (10 log 3 - 0) with beta 0.1.
    zero = torch.zeros(1, dtype=torch.float64)
    losses, chosen_rewards, rejected_rewards = DPO(beta=0.1)(zero + 10 * math.log(3), zero, zero, zero)
    assert losses.item() == pytest.approx(math.log(4 / 3))
    assert (chosen_rewards.item(), rejected_rewards.item()) == (pytest.approx(math.log(3)), 0)


def test_label_smoothing_mixes_in_the_loss_of_the_flipped_label():
    # sigmoid(log 3) = 3/4: 0.9 log(4/3) + 0.1 log 4.
    zero = torch.zeros(1, dtype=torch.float64)
    losses, _, _ = DPO(beta=0.1, label_smoothing=0.1)(zero + 10 * math.log(3), zero, zero, zero)
    assert losses.item() == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4))


def test_the_gradient_is_beta_times_the_probability_of_being_wrong():
    policy_chosen, policy_rejected, *reference = log_probs()
    policy_chosen.requires_grad_()
    losses, chosen_rewards, rejected_rewards = DPO(beta=0.3)(policy_chosen, policy_rejected, *reference)
    (gradient,) = torch.autograd.grad(losses.sum(), policy_chosen)
    torch.testing.assert_close(gradient, -0.3 * torch.sigmoid(rejected_rewards - chosen_rewards))


def test_huge_margins_stay_finite():
    zero = torch.zeros(2)
    losses, _, _ = DPO()(torch.tensor([1e5, -1e5]), zero, zero, zero)
    torch.testing.assert_close(losses, torch.tensor([0.0, 1e4]))


@pytest.mark.parametrize("beta", [0.0, -0.1, float("nan"), float("inf")])
def test_refuses_a_beta_that_is_not_positive(beta):
    with pytest.raises(ValueError, match=r"^beta is .*: choose a number above 0"):
        DPO(beta=beta)


@pytest.mark.parametrize("smoothing", [-0.1, 0.5, float("nan")])
def test_refuses_label_smoothing_that_is_no_share_of_wrong_labels(smoothing):
    with pytest.raises(ValueError, match=r"^label_smoothing is"):
        DPO(label_smoothing=smoothing)


def test_its_description_is_the_one_under_which_vectors_are_stored():
    described = {"class": "mva.objectives.dpo.DPO", "beta": 0.1, "label_smoothing": 0.0}
    assert describe(DPO()) == described
    assert not length_normalised(DPO())
