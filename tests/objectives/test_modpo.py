"""MODPO's margin loss, by hand."""

import pytest
import torch

from mva.objectives.dpo import DPO
from mva.objectives.modpo import MODPO, tilted
from mva.objectives.robust_dpo import RobustDPO
from mva.objectives.simpo import SimPO


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_equals_the_published_loss_on_a_batch_by_hand():
    # beta 0.1, w_k 0.25, w_j 0.75; one other policy, whose implicit reward is beta (log pi_j - log pi_reference).
    policy = tensor(-10.0, -20.0), tensor(-12.0, -19.0)
    reference = tensor(-11.0, -20.0), tensor(-11.0, -20.0)
    other = tensor(-9.0, -22.0), tensor(-13.0, -20.0)
    # delta = (-10 + 11) - (-12 + 11) = 2 and (0) - (1) = -1; r_j differences: 0.1 ((2) - (-2)) = 0.4, 0.1 ((-2) - 0) = -0.2
    inside = tensor((0.1 * 2 - 0.75 * 0.4) / 0.25, (0.1 * -1 - 0.75 * -0.2) / 0.25)
    assert inside.tolist() == pytest.approx([-0.4, 0.2])
    tilt = [tilted(r, [(o, 0.75)]) for r, o in zip(reference, other, strict=True)]
    losses, chosen, rejected = MODPO(DPO(beta=0.1), weight=0.25)(*policy, *tilt)
    torch.testing.assert_close(losses, -torch.nn.functional.logsigmoid(inside))
    torch.testing.assert_close(chosen - rejected, inside)


def test_several_margins_add_up():
    reference, first, second = tensor(-1.0), tensor(-2.0), tensor(-4.0)
    assert tilted(reference, [(first, 0.5), (second, 0.25)]).item() == pytest.approx(-1 - 0.5 - 0.75)
    assert torch.equal(tilted(reference, []), reference)


@pytest.mark.parametrize("loss", [DPO(beta=0.3), RobustDPO(label_smoothing=0.1)], ids=repr)
def test_with_the_whole_weight_it_is_the_loss_itself(loss):
    batch = -10 * torch.rand(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for found, expected in zip(MODPO(loss, weight=1.0)(*batch), loss(*batch), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("weight", [0.0, -0.5, 1.5, float("nan")])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        MODPO(DPO(), weight=weight)


def test_a_loss_of_averages_is_refused():
    with pytest.raises(ValueError, match="objective=dpo"):
        MODPO(SimPO(), weight=0.5)
