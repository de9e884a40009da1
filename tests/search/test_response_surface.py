import numpy as np
import pytest

from mva.search.response_surface import ResponseSurface

GENERATOR_SEED = 3


def points(n, d=2):
    return np.random.default_rng(GENERATOR_SEED).random((n, d))


def quadratic(x):
    return 1.0 + x[:, 0] - 0.5 * x[:, 1] ** 2 + 2.0 * x[:, 0] * x[:, 1]


@pytest.mark.parametrize("form", ["smooth", "quadratic"])
def test_scores_without_noise_are_passed_through_and_predicted(form):
    x, new = points(30), np.random.default_rng(9).random((20, 2))
    surface = ResponseSurface(form, x, quadratic(x), np.zeros(30))
    draws = surface.draw(np.concatenate([x, new]), np.random.default_rng(0).standard_normal((64, 50)))
    np.testing.assert_allclose(draws[:, :30].mean(axis=0), quadratic(x), atol=0.01)
    np.testing.assert_allclose(draws[:, 30:].mean(axis=0), quadratic(new), atol=0.02)


@pytest.mark.parametrize("form", ["smooth", "quadratic"])
def test_noise_is_smoothed_out(form):
    x = points(60)
    errors = []
    for seed in range(20):
        observed = quadratic(x) + 0.3 * np.random.default_rng(seed).standard_normal(60)
        surface = ResponseSurface(form, x, observed, np.full(60, 0.3))
        mean = surface.draw(x, np.zeros((1, 60)))[0]
        errors.append(np.mean((mean - quadratic(x)) ** 2))
    assert np.mean(errors) < 0.3**2 / 3


def test_draws_are_as_wide_as_their_errors():
    x = points(40)
    inside = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        observed = quadratic(x) + 0.3 * generator.standard_normal(40)
        draws = ResponseSurface("quadratic", x, observed, np.full(40, 0.3)).draw(
            x, generator.standard_normal((200, 40))
        )
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        inside.append(np.mean((low <= quadratic(x)) & (quadratic(x) <= high)))
    assert 0.75 < np.mean(inside) < 0.97


def test_equal_scores_are_a_flat_surface():
    x = points(5)
    draws = ResponseSurface("smooth", x, np.full(5, 2.0), np.zeros(5)).draw(x, np.zeros((1, 5)))
    np.testing.assert_allclose(draws, 2.0)
