import math

import pytest
import torch

from mva.objectives.dpo import DPO
from mva.objectives.robust_dpo import RobustDPO


def log_probs(n=6, seed=0):
    return -30 * torch.rand(4, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_margin_of_the_logarithm_of_three():
    # sigmoid(log 3) = 3/4: (0.9 log(4/3) - 0.1 log 4) / 0.8.
    zero = torch.zeros(1, dtype=torch.float64)
    losses, chosen, rejected = RobustDPO(beta=0.1, label_smoothing=0.1)(zero + 10 * math.log(3), zero, zero, zero)
    assert losses.item() == pytest.approx((0.9 * math.log(4 / 3) - 0.1 * math.log(4)) / 0.8)
    assert (chosen.item(), rejected.item()) == (pytest.approx(math.log(3)), 0)


@pytest.mark.parametrize("flipped", [0.0, 0.1, 0.4])
def test_averaged_over_flipped_labels_it_is_the_loss_of_the_true_ones(flipped):
    chosen, rejected, reference_chosen, reference_rejected = log_probs()
    robust = RobustDPO(beta=0.3, label_smoothing=flipped)
    right, _, _ = robust(chosen, rejected, reference_chosen, reference_rejected)
    wrong, _, _ = robust(rejected, chosen, reference_rejected, reference_chosen)
    expected, _, _ = DPO(beta=0.3)(*log_probs())
    torch.testing.assert_close((1 - flipped) * right + flipped * wrong, expected)


@pytest.mark.parametrize("setting", [{"beta": 0.0}, {"label_smoothing": 0.5}, {"label_smoothing": -0.1}], ids=str)
def test_refuses_settings_without_a_meaning(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=f"^{name} is"):
        RobustDPO(**setting)
