import math

import pytest
import torch

from mva.estimators.hsic import HSIC


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def lora_a(modules, rank, d_in, seed):
    """The initialisation that PEFT gives lora_A: Kaiming-uniform with a = sqrt(5)."""
    bound = 1 / math.sqrt(d_in)
    return torch.empty(modules, rank, d_in).uniform_(-bound, bound, generator=generator(seed))


def gaussian_pairs(n, rho, *, modules=1, seed=0):
    x, noise = torch.randn(2, modules, n, 1, generator=generator(seed), dtype=torch.float64)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def population_hsic(rho, sigma):
    """E[k l] + E[k] E[l] - 2 E[E[k|x] E[l|y]] of two standard normals, by Gaussian integrals."""
    s = sigma**2 + 0.5e-5
    joint = ((1 + 2 / s) ** 2 - (2 * rho / s) ** 2) ** -0.5
    marginals = s / (s + 2)
    mixed = s / (s + 1) * ((1 + 1 / (s + 1)) ** 2 - (rho / (s + 1)) ** 2) ** -0.5
    return joint + marginals - 2 * mixed


def naive_hsic(x, y, sigma):
    n = len(x)
    kernel_x, kernel_y = (
        torch.tensor(
            [[math.exp(-float(((a - b) ** 2).sum()) / (2 * sigma**2 + 1e-5)) for a in z] for b in z],
            dtype=torch.float64,
        )
        for z in (x, y)
    )
    h = torch.eye(n, dtype=torch.float64) - 1 / n
    return torch.trace(kernel_x @ h @ kernel_y @ h) / n**2


def test_two_samples_a_distance_apart_give_the_hand_derived_number():
    # n = 2: HKH = (1 - k)/2 [[1, -1], [-1, 1]], so trace(KHLH)/4 = (1 - k)(1 - l)/4.
    x, y = torch.tensor([[[0.0], [1.0]]]).double(), torch.tensor([[[0.0], [3.0]]]).double()
    k_x, k_y = math.exp(-1 / 2.00001), math.exp(-9 / 2.00001)
    assert HSIC()(x, y).item() == pytest.approx((1 - k_x) * (1 - k_y) / 4, rel=1e-12)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_agrees_with_the_trace_formula_written_out(sigma):
    x = torch.randn(3, 7, 4, generator=generator(1), dtype=torch.float64)
    y = torch.randn(3, 7, 5, generator=generator(2), dtype=torch.float64)
    expected = torch.stack([naive_hsic(a, b, sigma) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(HSIC(sigma)(x, y), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_many_gaussian_pairs_reach_the_population_value(rho):
    estimate = HSIC()(*gaussian_pairs(1000, rho, modules=12)).mean().item()
    bias = 0.2 / 1000  # of the biased estimate, at independence: about (1 - E k)^2 / n
    assert estimate == pytest.approx(population_hsic(rho, 1.0) + bias, abs=8e-4)


def test_population_value_is_zero_at_independence_and_rises_with_correlation():
    values = [population_hsic(rho, 1.0) for rho in (0.0, 0.3, 0.6, 0.9)]
    assert values[0] == pytest.approx(0, abs=1e-12)
    assert values == sorted(values)


def test_hardly_tells_identical_from_independent_matrices_at_initialisation_scale():
    # The documented weakness of the paper's form (r 16, d 576).
    x, y = lora_a(30, 16, 576, seed=0), lora_a(30, 16, 576, seed=1)
    independent, identical = HSIC()(x, y).mean().item(), HSIC()(x, x).mean().item()
    assert independent == pytest.approx(0.00468, abs=2e-5)
    assert identical == pytest.approx(0.00480, abs=2e-5)
    assert identical / independent < 1.03


def test_its_gradient_at_initialisation_scale_only_shrinks_the_rows():
    x = lora_a(1, 16, 576, seed=0).double().requires_grad_()
    (gradient,) = torch.autograd.grad(HSIC()(x, lora_a(1, 16, 576, seed=1).double()).sum(), x)
    centred = x - x.mean(dim=1, keepdim=True)
    assert torch.cosine_similarity(gradient.flatten(), centred.flatten(), dim=0) > 0.98


def test_is_unchanged_when_both_samples_are_permuted_together():
    x, y = gaussian_pairs(20, 0.8)
    order = torch.randperm(20, generator=generator(3))
    torch.testing.assert_close(HSIC()(x[:, order], y[:, order]), HSIC()(x, y))


def test_a_constant_sample_has_no_dependence():
    x, _ = gaussian_pairs(10, 0.0)
    torch.testing.assert_close(HSIC()(x, torch.ones_like(x)), torch.zeros(1, dtype=torch.float64))


def test_coinciding_samples_leave_the_gradient_finite():
    x = torch.zeros(1, 4, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(HSIC()(x, x).sum(), x)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_refuses_unpaired_samples_naming_both_counts():
    with pytest.raises(ValueError, match="has 4 and the other 8"):
        HSIC()(torch.zeros(1, 4, 3), torch.zeros(1, 8, 3))


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_refuses_a_width_that_is_not_positive(sigma):
    with pytest.raises(ValueError, match=r"^sigma is .*: choose a number above 0"):
        HSIC(sigma)
