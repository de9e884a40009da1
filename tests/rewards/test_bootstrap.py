"""Resampled Bradley-Terry fits against what they must be."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from mva.rewards import bootstrap
from mva.rewards.bootstrap import differences, resampled_weights, standardised

LOOSE = 1e6  # an inverse penalty that leaves the likelihood alone


def features(n, *, weight, seed):
    """Features of n pairs whose preferences follow `sigmoid(weight . difference)`: the chosen ones, then the rejected."""
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, n, len(weight)))
    better = generator.random(n) < expit((first - second) @ weight)
    return np.concatenate([np.where(better[:, None], first, second), np.where(better[:, None], second, first)])


def test_pairs_of_one_prompt_are_drawn_together_as_many_prompts_as_there_are(monkeypatch):
    drawn = []

    class Fit:
        def __init__(self, **_settings):
            self.coef_ = np.ones((1, 2))

        def fit(self, rows, labels, sample_weight):
            assert len(rows) == len(labels)
            drawn.append((rows, sample_weight))

    monkeypatch.setattr(bootstrap, "LogisticRegression", Fit)
    prompts = ["a", "b", "a", "c", "b", "a", "d"]
    x = features(7, weight=np.ones(2), seed=0)
    known = np.subtract(*np.split(x / x.std(axis=0), 2))
    assert len(list(resampled_weights(x, prompts, inverse_penalty=1, n=20, seed=0))) == 20
    for rows, counts in drawn:
        # A pair's copies are of its own difference, in both signs: which pair a row is can be read off it.
        times = dict.fromkeys(range(7), 0)
        for row, count in zip(rows, counts, strict=True):
            pair = next(k for k in range(7) if np.allclose(abs(row), abs(known[k])))
            assert times[pair] in (0, count)
            times[pair] = count
        by_prompt = {name: {times[k] for k in range(7) if prompts[k] == name} for name in prompts}
        assert all(len(counted) == 1 for counted in by_prompt.values())
        assert sum(counted.pop() for counted in by_prompt.values()) == 4


def test_a_single_prompt_is_always_drawn_whole():
    x = features(50, weight=np.array([1.0, -1.0]), seed=1)
    rows, labels = differences(x / x.std(axis=0))
    whole = LogisticRegression(C=0.5, fit_intercept=False, max_iter=10_000).fit(rows, labels).coef_[0] / x.std(axis=0)
    for weight in resampled_weights(x, ["same"] * 50, inverse_penalty=1.0, n=3, seed=0):
        np.testing.assert_allclose(weight, whole, rtol=1e-6)


def test_the_spread_of_the_weights_is_that_of_a_new_sample():
    """One feature: the standard error of the maximum likelihood is `(sum d^2 p (1 - p))^(-1/2)`."""
    x = features(600, weight=np.array([0.7]), seed=2)
    drawn = [w[0] for w in resampled_weights(x, list(map(str, range(600))), inverse_penalty=LOOSE, n=200, seed=0)]
    d = np.subtract(*np.split(x[:, 0], 2))
    p = expit(0.7 * d)
    assert np.std(drawn) == pytest.approx((d**2 @ (p * (1 - p))) ** -0.5, rel=0.2)


def test_a_member_depends_on_the_seed_and_its_number_alone():
    x, prompts = features(40, weight=np.ones(2), seed=3), [str(k // 2) for k in range(40)]
    few, many, other = (
        np.array(list(resampled_weights(x, prompts, inverse_penalty=1, n=n, seed=seed)))
        for n, seed in ((2, 0), (5, 0), (2, 1))
    )
    np.testing.assert_array_equal(few, many[:2])
    assert np.abs(few - other).max() > 1e-3
    assert np.abs(many[0] - many[1]).max() > 1e-3


def test_standardised_scores_have_mean_zero_and_deviation_one():
    x = features(40, weight=np.ones(2), seed=4) + 3
    weight, offset = standardised(x, np.array([2.0, -5.0]))
    assert (x @ weight - offset).mean() == pytest.approx(0, abs=1e-12)
    assert (x @ weight - offset).std() == pytest.approx(1)
