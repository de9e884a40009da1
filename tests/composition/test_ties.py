import pytest
import torch
from peft.utils.merge_utils import ties as peft_ties

from mva.composition.ties import Ties
from mva.composition.updates import full_rank
from mva.models.value_vector import LowRank, ValueVector


def vectors(**rows):
    """One vector a keyword; each is one module of one row, or a mapping of modules."""
    made = []
    for value, content in rows.items():
        modules = content if isinstance(content, dict) else {"m": content}
        factors = {m: full_rank(torch.tensor([row], dtype=torch.float64)) for m, row in modules.items()}
        made.append(ValueVector(value, factors, "base"))
    return made


def merged(made, omega, density, module="m"):
    coefficients = {v.value: w for v, w in zip(made, omega, strict=True)}
    return Ties(density=density).compose(made, coefficients).factors[module].update()[0].tolist()


THREE = vectors(x=[4.0, -1.0, 3.0, 0.5], y=[-2.0, 1.0, 5.0, -0.5], z=[1.0, -3.0, -6.0, 0.1])


def test_trims_elects_and_averages_what_agrees():
    # Trimmed to two entries: [4 0 3 0], [-2 0 5 0], [0 -3 -6 0]; sums 2, -3, 2, 0; means of what agrees.
    assert merged(THREE, (1, 1, 1), 0.5) == [4.0, -3.0, 4.0, 0.0]


def test_coefficients_scale_the_votes_and_what_is_averaged():
    # z counts twice: the third entry's sum is 3 + 5 - 12 < 0.
    assert merged(THREE, (1, 1, 2), 0.5) == [4.0, -6.0, -12.0, 0.0]


def test_a_negative_coefficient_turns_a_vector_around():
    # [4 0 3 0], [-2 0 5 0], [0 3 6 0]
    assert merged(THREE, (1, 1, -1), 0.5) == [4.0, 3.0, 14 / 3, 0.0]


def test_one_common_coefficient_is_the_papers_scale():
    assert merged(THREE, (0.5, 0.5, 0.5), 0.5) == [2.0, -1.5, 2.0, 0.0]


def test_where_two_agree_convex_coefficients_give_half_of_the_linear_combination():
    assert merged(vectors(x=[2.0], y=[4.0]), (0.5, 0.5), 1) == [1.5]


def test_votes_that_cancel_elect_nothing():
    assert merged(vectors(x=[2.0, 1.0], y=[-2.0, 1.0]), (1, 1), 1) == [0.0, 1.0]


def test_trims_over_the_whole_vector_not_module_by_module():
    one = vectors(x={"big": [10.0, -20.0], "small": [0.1, 0.2]})
    assert merged(one, (1,), 0.5, "big") == [10.0, -20.0]
    assert merged(one, (1,), 0.5, "small") == [0.0, 0.0]


def test_entries_that_tie_with_the_last_one_kept_stay():
    assert merged(vectors(x=[1.0, -1.0, 1.0, 0.5]), (1,), 0.25) == [1.0, -1.0, 1.0, 0.0]


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_of_dense_updates_peft_says_the_same(density):
    # PEFT elects before it applies the weights: the same where the weights are equal.
    generator = torch.Generator().manual_seed(0)
    tasks = [torch.randn(10, 20, generator=generator, dtype=torch.float64) for _ in range(4)]
    made = [ValueVector(str(i), {"m": full_rank(task)}, "base") for i, task in enumerate(tasks)]
    ours = Ties(density=density).compose(made, dict.fromkeys("0123", 0.7)).factors["m"].update()
    torch.testing.assert_close(ours, peft_ties(tasks, torch.full((4,), 0.7, dtype=torch.float64), density))


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1])
def test_refuses_a_share_that_is_none(density):
    with pytest.raises(ValueError, match=r"^density is .*: choose a number above 0 and at most 1"):
        Ties(density=density)


@pytest.mark.parametrize("omegas", [(0.3, 0.9), (1.0, 1.0), (2.0, 0.5), (-0.5, 1.0)])
def test_divided_by_the_weights_it_is_the_weighted_mean_of_what_agrees(omegas):
    vectors = [
        ValueVector(name, {"m": LowRank(torch.eye(3, dtype=torch.float64), matrix, 1.0)}, "base")
        for name, matrix in (
            ("a", torch.tensor([[4.0, -1.0, 0.0], [2.0, 2.0, -3.0]], dtype=torch.float64)),
            ("b", torch.tensor([[1.0, 5.0, 6.0], [-1.0, 2.0, -1.0]], dtype=torch.float64)),
        )
    ]
    coefficients = dict(zip("ab", omegas, strict=True))
    merged = Ties(density=1.0, normalise="weights").compose(vectors, coefficients).factors["m"].update()
    for i in range(2):
        for j in range(3):
            entries = [(omega, float(v.factors["m"].update()[i, j])) for omega, v in zip(omegas, vectors, strict=True)]
            total = sum(omega * entry for omega, entry in entries)
            agreeing = [(omega, entry) for omega, entry in entries if omega * entry * total > 0]
            expected = sum(o * e for o, e in agreeing) / sum(abs(o) for o, _ in agreeing) if agreeing else 0.0
            assert float(merged[i, j]) == pytest.approx(expected)


def test_weights_do_not_change_the_scale_and_are_part_of_the_name():
    vector = ValueVector("a", {"m": LowRank(torch.eye(2), torch.tensor([[1.0, 2.0]]), 1.0)}, "base")
    by_weights = Ties(density=1.0, normalise="weights")
    for omega in (0.5, 1.0, 3.0):
        torch.testing.assert_close(
            by_weights.compose([vector], {"a": omega}).factors["m"].update(), vector.factors["m"].update()
        )
    assert (Ties().name, Ties(normalise="weights").name) == ("ties 0.2", "ties 0.2 by weights")
    with pytest.raises(ValueError, match=r"^normalise is 'sum': choose count or weights"):
        Ties(normalise="sum")
