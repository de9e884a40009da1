"""Variants that are faithful to a source, and the addresses of what is stored already."""

from dataclasses import dataclass

import pytest
import torch

from mva.data.preference import PreferencePair, ValueData, user_prompt
from mva.fingerprint import added, describe
from mva.models.value_vector import LowRank
from mva.objectives.base import length_normalised
from mva.objectives.ipo import IPO
from mva.rewards.consistency import Consistency
from mva.training.orthogonal_complement import OrthogonalComplement


def test_summed_ipo_asks_for_its_margin_a_response():
    chosen, rejected = torch.tensor([-3.0]), torch.tensor([-9.0])
    losses, _, _ = IPO(beta=0.25, average=False)(chosen, rejected, torch.tensor([-4.0]), torch.tensor([-8.0]))
    assert losses.item() == pytest.approx((1.0 - -1.0 - 2.0) ** 2)
    assert not length_normalised(IPO(average=False))
    assert length_normalised(IPO())


def test_settings_of_later_versions_leave_the_description_of_the_default_as_it_was():
    assert describe(IPO()) == {"class": "mva.objectives.ipo.IPO", "beta": 0.1}
    assert describe(IPO(average=False)) == {"class": "mva.objectives.ipo.IPO", "beta": 0.1, "average": False}
    assert describe(OrthogonalComplement()) == {
        "class": "mva.training.orthogonal_complement.OrthogonalComplement", "energy": 0.9, "spectral_bound": 2.0,
    }  # fmt: skip


def test_an_added_field_counts_as_soon_as_it_is_set():
    @dataclass(frozen=True)
    class Settings:
        size: int = 1
        more: float = added(0.5)

    assert set(describe(Settings())) == {"class", "size"}
    assert describe(Settings(more=0.25))["more"] == 0.25


def factor(seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    return LowRank(a, torch.randn(9, 4, generator=generator, dtype=torch.float64), 0.5)


@pytest.mark.parametrize(("share", "count"), [(0.25, 1), (0.5, 2), (0.6, 3), (1.0, 4)])
def test_a_share_of_the_singular_directions_is_closed_whatever_they_carry(share, count):
    earlier, current = factor(0), factor(1)
    u = torch.linalg.svd(earlier.update())[0]
    constraint = OrthogonalComplement(directions=share, spectral_bound=float("inf"))
    constraint.prepare([{"m": earlier}])({"m": current})
    inside = u[:, :count].T @ current.update()
    beside = u[:, count:4].T @ current.update()
    torch.testing.assert_close(inside, torch.zeros_like(inside))
    torch.testing.assert_close(beside, u[:, count:4].T @ factor(1).update())


def test_gradients_are_projected_and_the_vector_is_left_alone():
    earlier, current = factor(0), factor(1)
    current.b.requires_grad_()
    current.b.grad = factor(2).b.clone()
    OrthogonalComplement(directions=0.5, acts_on="gradient").prepare([{"m": earlier}])({"m": current})
    u = torch.linalg.svd(earlier.update())[0][:, :2]
    expected = factor(2).b - u @ (u.T @ factor(2).b)
    torch.testing.assert_close(current.b.grad, expected)
    assert torch.equal(current.b.detach(), factor(1).b)


@pytest.mark.parametrize("settings", [{"directions": 0.0}, {"directions": 1.5}, {"acts_on": "both"}])
def test_variants_that_are_none_are_refused(settings):
    with pytest.raises(ValueError, match=r"^(directions|acts_on) is"):
        OrthogonalComplement(**settings)


class Gaps:
    """A reward whose gap is a number that the chosen response names."""

    key = "gaps"

    def __init__(self, place):
        self.place = place

    def score(self, prompts, responses):
        return torch.tensor([float(r.split(",")[self.place]) for r in responses], dtype=torch.float64)


def test_the_paper_s_filter_takes_the_gaps_as_they_are():
    # One value's reward has ten times the unit of the other's: plain gaps (10, -5) agree, scaled ones do not.
    texts = ["10,-5", "10,5", "-10,5"]
    pairs = tuple(PreferencePair(user_prompt(str(k)), text, "0,0") for k, text in enumerate(texts))
    data = {"kind": ValueData("kind", pairs, pairs, pairs)}
    rewards = {"kind": Gaps(0), "brief": Gaps(1)}
    kept = Consistency(threshold=0.1, scaled=False).select(data, rewards)["kind"].train
    assert [pair.chosen for pair in kept] == ["10,-5", "10,5"]
    kept = Consistency(threshold=0.1).select(data, rewards)["kind"].train
    assert [pair.chosen for pair in kept] == ["10,5"]
