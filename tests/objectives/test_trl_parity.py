"""Every loss that TRL has, against TRL's own code on given log-probs of tokens."""

import warnings
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from mva.objectives.base import length_normalised
from mva.objectives.dpo import DPO
from mva.objectives.ipo import IPO
from mva.objectives.kto_pair import KTOPair
from mva.objectives.orpo import ORPO
from mva.objectives.robust_dpo import RobustDPO
from mva.objectives.simpo import SimPO

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # trl's own and those of what it imports
    from trl import DPOTrainer, KTOTrainer
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

N, LONGEST = 6, 5
LENGTHS = torch.tensor([1, 2, 3, 4, 5, 5, 5, 1, 4, 2, 3, 1])  # of the chosen, then of the rejected responses
COMPLETION = torch.arange(LONGEST) < LENGTHS[:, None]


def same(tensor):
    return tensor


def token_log_probs(seed=0):
    """Of the policy's and of the reference policy's responses, zero behind a response's end. Shape: (2, 2 N, 5)."""
    random = torch.rand(2, 2 * N, LONGEST, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return -3 * random * COMPLETION


def ours(loss, tokens):
    """Mean loss and mean rewards on what a training step would hand over."""
    sequences = tokens.sum(-1) / (LENGTHS if length_normalised(loss) else 1)
    return [result.mean() for result in loss(*sequences.view(4, N))]


def trainer(**settings):
    """What TRL's losses read of a trainer."""
    return SimpleNamespace(
        model=torch.nn.Identity(),
        accelerator=SimpleNamespace(device="cpu", gather=same, gather_for_metrics=same),
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
        **settings,
    )


def outputs(per_token):
    """What TRL's fused head gives."""
    zero = torch.zeros_like(per_token)
    return SimpleNamespace(
        log_probs=per_token, entropy=zero, mean_logits=zero, is_top1=zero.bool(), log_sum_sq_probs=zero
    )


def inputs(completion):
    """A prompt of one token and the responses."""
    mask = torch.cat([torch.zeros(len(completion), 1), completion], dim=1).long()
    return {"input_ids": torch.zeros_like(mask), "attention_mask": torch.ones_like(mask), "completion_mask": mask}


def dpo_trainer(tokens, loss_type, **settings):
    policy, reference = tokens
    trl = trainer(
        ld_alpha=None, f_divergence_type="reverse_kl", loss_types=[loss_type], loss_weights=[1.0],
        use_weighting=False, **settings,
    )  # fmt: skip
    chosen, rejected = reference.sum(-1).split(N)
    batch = {**inputs(COMPLETION), "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    loss = DPOTrainer._compute_loss(trl, lambda **_: outputs(policy), batch, False)
    rewards = trl._metrics["train"]
    return loss, rewards["rewards/chosen"][0], rewards["rewards/rejected"][0]


def kto_trainer(tokens, *, desirable, z, beta):
    """The loss of N responses with one label and the given estimate of the KL divergence."""
    rows = slice(0, N) if desirable else slice(N, None)
    policy, reference = tokens[:, rows]
    trl = trainer(
        calculate_KL=True, loss_type="kto", beta=beta, desirable_weight=1.0, undesirable_weight=1.0,
        _compute_kl_logps=lambda *_: z.expand(N),
    )  # fmt: skip
    batch = {
        **inputs(COMPLETION[rows]),
        "label": torch.full((N,), desirable),
        "ref_logps": reference.sum(-1),
        "ref_KL_logps": torch.zeros(N),
    }
    return KTOTrainer._compute_loss(trl, lambda **_: outputs(policy), batch, False)


@pytest.mark.parametrize(
    ("loss", "loss_type"),
    [
        (DPO(beta=0.1), "sigmoid"),
        (DPO(beta=0.5), "sigmoid"),
        (RobustDPO(beta=0.5, label_smoothing=0.0), "robust"),
        (RobustDPO(beta=0.5, label_smoothing=0.3), "robust"),
    ],
    ids=repr,
)
def test_loss_and_rewards_are_those_of_its_dpo_trainer(loss, loss_type):
    tokens = token_log_probs()
    expected = dpo_trainer(tokens, loss_type, beta=loss.beta, label_smoothing=loss.label_smoothing)
    assert [result.item() for result in ours(loss, tokens)] == pytest.approx([float(x) for x in expected])


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_ipo_averages_over_the_tokens_as_its_dpo_trainer_does(beta):
    tokens = token_log_probs()
    expected, *_ = dpo_trainer(tokens, "ipo", beta=beta)  # its rewards are of sums whatever the loss
    assert ours(IPO(beta=beta), tokens)[0].item() == pytest.approx(expected.item())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_label_smoothing_is_that_of_its_cpo_trainer(smoothing):
    # CPO has no reference policy: it is given the log-ratios.
    loss, tokens = DPO(beta=0.5, label_smoothing=smoothing), token_log_probs()
    trl = trainer(alpha=0.0, loss_type="sigmoid", beta=0.5, label_smoothing=smoothing)
    expected = CPOTrainer.cpo_loss(trl, *(tokens[0] - tokens[1]).sum(-1).split(N))
    torch.testing.assert_close(ours(loss, tokens), [result.mean() for result in expected])


@pytest.mark.parametrize(("beta", "gamma"), [(2.0, 1.0), (2.5, 0.3)])
def test_simpo_is_that_of_its_cpo_trainer(beta, gamma):
    tokens = token_log_probs()
    trl = trainer(alpha=0.0, loss_type="simpo", beta=beta, simpo_gamma=gamma, label_smoothing=0.0)
    expected = CPOTrainer.cpo_loss(trl, *(tokens[0].sum(-1) / LENGTHS).split(N))
    torch.testing.assert_close(ours(SimPO(beta=beta, gamma=gamma), tokens), [result.mean() for result in expected])


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_orpo_is_that_of_its_orpo_trainer_on_the_response(beta):
    tokens = token_log_probs()
    average = tokens[0].sum(-1) / LENGTHS
    odds_ratio, chosen, rejected, *_ = ORPOTrainer.odds_ratio_loss(trainer(beta=beta), *average.split(N))
    expected = [-average[:N].mean() - odds_ratio.mean().double(), chosen.mean().double(), rejected.mean().double()]
    torch.testing.assert_close(ours(ORPO(beta=beta), tokens), expected, rtol=1e-6, atol=1e-6)  # it rounds to float32


@pytest.mark.parametrize("seed", [0, 1])
def test_kto_pair_is_its_kto_trainer_on_either_half_given_the_others_mean_log_ratio(seed):
    tokens = token_log_probs(seed)
    chosen, rejected = (tokens[0] - tokens[1]).sum(-1).split(N)
    assert (chosen.mean() > 0) != (rejected.mean() > 0), "one reference point is clamped and the other is not"
    first = kto_trainer(tokens, desirable=True, z=rejected.mean(), beta=0.5)
    second = kto_trainer(tokens, desirable=False, z=chosen.mean(), beta=0.5)
    torch.testing.assert_close(ours(KTOPair(beta=0.5), tokens)[0], first + second)


def test_kto_pair_with_reference_points_of_zero_is_the_apo_zero_of_its_dpo_trainer():
    tokens = token_log_probs()
    tokens[0] -= 1.0 * COMPLETION  # the policy gives less to every response than the reference policy does
    expected = dpo_trainer(tokens, "apo_zero", beta=0.5)
    assert [result.item() for result in ours(KTOPair(beta=0.5), tokens)] == pytest.approx([float(x) for x in expected])
