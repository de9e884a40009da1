import numpy as np
import pytest

from mva.statistics.estimate import interval, mean_estimate
from mva.statistics.rewards import by_cluster


def test_a_cluster_counts_as_one_prompt_and_the_mean_stays():
    rewards = np.random.default_rng(0).normal(size=(3, 10, 2))
    clustered = by_cluster(rewards, list("aaabbbbccd"))
    assert clustered.shape == (3, 4, 2)
    np.testing.assert_allclose(clustered.mean(axis=1), rewards.mean(axis=1))


def test_the_sizes_of_clusters_add_no_variance():
    alike = np.full((1, 10, 1), 5.0)
    np.testing.assert_allclose(by_cluster(alike, list("abbbbbbbbb")), np.full((1, 2, 1), 5.0))


def test_the_variance_is_that_of_the_clusters_sums_of_deviations():
    rewards = np.random.default_rng(1).normal(3.0, size=10)
    labels = list("aaabbbbccd")
    deviations = [
        sum(r - rewards.mean() for r, label in zip(rewards, labels, strict=True) if label == x) for x in "abcd"
    ]
    clustered = by_cluster(rewards[None, :, None], labels)[0, :, 0]
    # Miller 2024: SE^2 = sum_c (sum of c's deviations)^2 / n_prompts^2; n / (n - 1) is the usual correction.
    expected = sum(d**2 for d in deviations) / 10**2 * 4 / 3
    np.testing.assert_allclose(clustered.var(ddof=1) / 4, expected)


def test_prompts_of_one_kind_do_not_feign_certainty():
    covered = {"clusters": 0, "prompts": 0}
    for trial in range(400):
        generator = np.random.default_rng(trial)
        kinds = np.repeat(generator.normal(size=12), 4) + 0.5 * generator.normal(size=48)
        clustered = by_cluster(kinds[None, :, None], [str(p // 4) for p in range(48)])[0, :, 0]
        for name, samples in (("clusters", clustered), ("prompts", kinds)):
            bounds = interval([mean_estimate(samples)])
            covered[name] += bounds.low <= 0 <= bounds.high
    assert covered["clusters"] >= 0.92 * 400
    assert covered["prompts"] < 0.75 * 400


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 cluster labels for 4 prompts"):
        by_cluster(np.zeros((1, 4, 1)), ["a", "b", "c"])
    with pytest.raises(ValueError, match="at least two"):
        by_cluster(np.zeros((1, 4, 1)), ["a"] * 4)
