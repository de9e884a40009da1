"""What every policy owes."""

from dataclasses import replace

import pytest
import torch

from mva.composition.linear import Linear
from mva.composition.log_probs import LogProbs
from mva.composition.ties import Ties
from mva.models.backbone import load_backbone
from mva.models.lora import LoraSpec, attach, detach, extract
from mva.models.sources.tiny_random import TinyRandom
from mva.models.value_vector import LowRank
from mva.policies.base import Member
from mva.policies.merged import MergedPolicy
from mva.policies.mixture import MixturePolicy
from mva.policies.per_row import PerRowPolicy

IDS = torch.arange(3, 19).view(2, 8)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(TinyRandom("llama"), dtype="float64", device="cpu")


@pytest.fixture(scope="module")
def vectors(backbone):
    made = []
    for seed, value in enumerate(["helpful", "harmless"]):
        model = attach(backbone, LoraSpec(rank=2), name=value, seed=seed)
        vector = extract(model, value, base=backbone.fingerprint)
        detach(model)
        factors = {
            n: LowRank(f.a.double(), torch.full_like(f.b, 0.05 + seed).double(), 1.0) for n, f in vector.factors.items()
        }
        made.append(replace(vector, factors=factors))
    return made


@pytest.fixture(params=[PerRowPolicy(), MergedPolicy()], ids=["per_row", "merged"])
def policy(request, backbone, vectors):
    return request.param.build(backbone, vectors, Linear())


@torch.no_grad()
def test_zero_is_the_base_and_so_is_everything_outside(policy, backbone):
    base = backbone.model(IDS).logits
    with policy.rows(torch.zeros(2, 2)) as model:
        torch.testing.assert_close(model(IDS).logits, base)
    with policy.rows(torch.ones(2, 2)) as model:
        assert not torch.allclose(model(IDS).logits, base)
    assert torch.equal(backbone.model(IDS).logits, base)


@torch.no_grad()
def test_columns_are_in_the_order_of_the_values(policy, vectors):
    assert policy.values == tuple(vector.value for vector in vectors)
    with policy.rows(torch.tensor([[1.0, 0.0]] * 2)) as model:
        first = model(IDS).logits
    with policy.rows(torch.tensor([[0.0, 1.0]] * 2)) as model:
        assert not torch.allclose(model(IDS).logits, first)


@torch.no_grad()
def test_rows_differ_where_they_may_and_are_refused_where_not(policy):
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    if policy.mixed_rows:
        with policy.rows(rows) as model:
            together = model(IDS).logits
        with policy.rows(rows[:1].expand(2, 2)) as model:
            torch.testing.assert_close(model(IDS).logits[0], together[0])
    else:
        with pytest.raises(ValueError, match="one candidate at a time"), policy.rows(rows):
            pass


def test_a_response_takes_one_row_with_its_own_coefficients(policy):
    assert policy.members((0.5, -1.0)) == [Member(1.0, (0.5, -1.0))]


def test_a_mixture_is_made_of_single_vectors_and_of_what_they_leave_to_the_base(backbone, vectors):
    mixture = MixturePolicy().build(backbone, vectors, LogProbs())
    assert mixture.members((0.25, 0.75)) == [Member(0.25, (1.0, 0.0)), Member(0.75, (0.0, 1.0))]
    assert mixture.members((0.5, 0.75))[-1] == Member(-0.25, (0.0, 0.0))
    assert mixture.members((0.0, 0.0)) == [Member(1.0, (0.0, 0.0))]
    assert mixture.members((0.1 + 0.2, 0.7)) == [Member(0.1 + 0.2, (1.0, 0.0)), Member(0.7, (0.0, 1.0))]


def test_a_mixture_composes_nothing(backbone, vectors):
    with pytest.raises(ValueError, match="composition=log_probs"):
        MixturePolicy().build(backbone, vectors, Linear())
    with pytest.raises(ValueError, match="several models at once"):
        LogProbs().compose(vectors, {"helpful": 1.0, "harmless": 0.0})


def test_per_row_needs_a_linear_composition(backbone, vectors):
    with pytest.raises(ValueError, match="policy=merged"):
        PerRowPolicy().build(backbone, vectors, Ties())
