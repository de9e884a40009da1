"""Values with prompts of their own: means, standard errors and covariances by hand, and intervals that cover."""

import numpy as np
import pytest

from mva.pareto.hypervolume import hypervolume
from mva.statistics.estimate import interval
from mva.statistics.posterior import ScorePosterior
from mva.statistics.unshared import by_prompt, on_all_prompts


def test_a_prompt_with_two_samples_counts_as_one_by_hand():
    means, names = by_prompt(np.array([[1.0, 2.0, 6.0]]), ["a", "a", "b"])
    # The mean is 3. Prompt a: 3 + 2/3 * (-2 - 1) = 1; prompt b: 3 + 2/3 * 3 = 5.
    assert names == ("a", "b")
    assert means[0].tolist() == pytest.approx([1.0, 5.0])


def test_prompts_with_one_sample_each_stay_as_they_are():
    samples = np.random.default_rng(0).standard_normal((3, 5))
    means, names = by_prompt(samples, list("cadbe"))
    assert names == tuple("abcde")
    assert means == pytest.approx(samples[:, [1, 3, 0, 2, 4]])


def test_a_prompt_s_number_of_samples_is_no_noise():
    means, _ = by_prompt(np.full((1, 6), -0.69), list("aaaabc"))
    assert means.std() == pytest.approx(0)


def test_scores_and_standard_errors_are_each_value_s_own():
    rng = np.random.default_rng(1)
    kind, brief = rng.standard_normal((4, 7)), rng.standard_normal((4, 12)) - 3
    array = on_all_prompts([(kind, list("abcdefg")), (brief, list("fghijklmnopq"))])
    assert array.shape == (4, 17, 2)
    for value, own in enumerate((kind, brief)):
        assert array[:, :, value].mean(axis=1) == pytest.approx(own.mean(axis=1))
        of_mean = array[:, :, value].std(axis=1, ddof=1) / 17**0.5
        assert of_mean == pytest.approx(own.std(axis=1, ddof=1) / own.shape[1] ** 0.5)


def test_values_without_a_common_prompt_are_uncorrelated_and_shared_prompts_are_not():
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal((1, 6)), rng.standard_normal((1, 9))
    apart = on_all_prompts([(first, list("abcdef")), (second, list("ghijklmno"))])[0]
    assert np.cov(apart.T)[0, 1] == pytest.approx(0)
    together = on_all_prompts([(first, list("abcdef")), (2 * first, list("abcdef"))])[0]
    assert np.corrcoef(together.T)[0, 1] == pytest.approx(1)


def test_what_has_no_standard_error_is_refused():
    with pytest.raises(ValueError, match="has 1 prompts"):
        on_all_prompts([(np.ones((1, 1)), ["a"])])


def test_intervals_of_a_hypervolume_cover_the_truth():
    """Of 200 simulated runs (seed 3), with 30 and 45 prompts of one or two samples, a 95 % interval misses few."""
    rng = np.random.default_rng(3)
    omega = np.array([[x, y] for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)])
    truth = np.stack([omega[:, 0] - 0.4 * omega[:, 1], omega[:, 1] - 0.4 * omega[:, 0]], axis=1)
    point = [-1.0, -1.0]
    covered = 0
    for _ in range(200):
        by_value = []
        for value, n_prompts in enumerate((30, 45)):
            owner = np.repeat(np.arange(n_prompts), rng.integers(1, 3, n_prompts))
            of_prompts = rng.standard_normal((1, n_prompts)) + 0.5 * rng.standard_normal((9, n_prompts))
            samples = truth[:, [value]] + of_prompts[:, owner] + 0.3 * rng.standard_normal((9, len(owner)))
            by_value.append(by_prompt(samples, [f"{value} {number}" for number in owner]))
        posterior = ScorePosterior.of(omega, on_all_prompts(by_value), draws=100)
        bounds = interval([posterior.estimate(lambda scores: hypervolume(scores, point))], at_least=0)
        covered += bounds.low <= hypervolume(truth, point) <= bounds.high
    assert 180 <= covered < 200
