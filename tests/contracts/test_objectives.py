"""What every preference loss owes. A new loss adds one line to OBJECTIVES."""

from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest
import torch

from mva.objectives.base import length_normalised
from mva.objectives.dpo import DPO
from mva.objectives.ipo import IPO
from mva.objectives.kto_pair import KTOPair
from mva.objectives.modpo import MODPO
from mva.objectives.orpo import ORPO
from mva.objectives.robust_dpo import RobustDPO
from mva.objectives.simpo import SimPO

OBJECTIVES = [
    DPO(),
    DPO(beta=0.5, label_smoothing=0.2),
    IPO(),
    RobustDPO(beta=0.5, label_smoothing=0.2),
    SimPO(),
    ORPO(beta=0.5),
    KTOPair(beta=0.5),
    MODPO(DPO(), weight=0.5),
]
# A batch is KTO's estimate of its reference points, through which no gradient flows.
PAIRWISE = [objective for objective in OBJECTIVES if not isinstance(objective, KTOPair)]


def log_probs(n=5, seed=0):
    return -10 * torch.rand(4, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=OBJECTIVES, ids=repr)
def objective(request):
    return request.param


def test_gives_one_finite_loss_and_two_rewards_a_pair(objective):
    results = objective(*log_probs())
    assert [result.shape for result in results] == [(5,)] * 3
    assert all(torch.isfinite(result).all() for result in results)


def test_rewards_are_detached_and_losses_are_not(objective):
    losses, chosen_rewards, rejected_rewards = objective(*log_probs().requires_grad_())
    assert losses.requires_grad
    assert not chosen_rewards.requires_grad
    assert not rejected_rewards.requires_grad


@pytest.mark.parametrize("objective", PAIRWISE, ids=repr)
def test_pairs_do_not_see_each_other(objective):
    together = objective(*log_probs())
    alone = [objective(*log_probs()[:, i : i + 1]) for i in range(5)]
    for i, result in enumerate(together):
        torch.testing.assert_close(result, torch.cat([single[i] for single in alone]))


def test_a_descent_step_prefers_the_chosen_response(objective):
    # At the reference policy, where no loss has reached its optimum yet.
    chosen = log_probs()[0].requires_grad_()
    rejected = log_probs()[1].requires_grad_()
    losses, _, _ = objective(chosen, rejected, chosen.detach(), rejected.detach())
    up, down = torch.autograd.grad(losses.sum(), (chosen, rejected))
    assert (up < 0).all()
    assert (down > 0).all()


@pytest.mark.parametrize("objective", PAIRWISE, ids=repr)
def test_the_gradient_is_that_of_finite_differences(objective):
    policy, reference = log_probs()[:2], log_probs()[2:]
    arguments = tuple(tensor.clone().requires_grad_() for tensor in policy)
    assert torch.autograd.gradcheck(lambda c, r: objective(c, r, *reference)[0], arguments)


def test_the_order_of_the_pairs_does_not_matter(objective):
    turned = objective(*log_probs().flip(1))
    for result, back in zip(objective(*log_probs()), turned, strict=True):
        torch.testing.assert_close(result, back.flip(0))


def test_extreme_log_probs_give_finite_losses_and_gradients(objective):
    # A response that is certain, and one that is all but impossible.
    ends = torch.tensor([[0.0, -1e4], [-1e4, 0.0]])
    policy = ends.clone().requires_grad_()
    losses, *_ = objective(*policy, *ends.flip(1))
    (gradient,) = torch.autograd.grad(losses.sum(), policy)
    assert torch.isfinite(losses).all()
    assert torch.isfinite(gradient).all()


def test_how_log_probs_are_summed_is_no_setting(objective):
    assert length_normalised(objective) == length_normalised(type(objective)())
    assert "length_normalised" not in {field.name for field in fields(objective)}


def test_is_a_frozen_dataclass(objective):
    assert is_dataclass(objective)
    with pytest.raises((FrozenInstanceError, TypeError)):
        objective.anything = 1
