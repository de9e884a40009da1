"""Samples of values that have prompts of their own, as the one array that the statistics take.

A preference pair belongs to one value, a prompt may have several pairs, and two values may share prompts or not. What
a prompt does to a value's mean over its samples is the linear part of a ratio (samples are counted as they come):

    x_p = score + n_prompts / n_samples * sum over the samples s of p of (x_s - score)

The mean of x_p over the value's prompts is the score, and their spread gives its standard error by clusters. On the N
prompts of all values together, a prompt without a sample of the value does nothing to it:

    r_p = score + f (x_p - score) with samples, score without,   f^2 = (N / n) (N - 1) / (n - 1)

so that the mean of r_p is the score, its standard error as a mean over N prompts is that over the value's own n, and
values without a common prompt are uncorrelated. Source: Cochran 1977, Sampling Techniques, Ch. 6 (ratios).
"""

from collections.abc import Sequence

import numpy as np

from mva.statistics.rewards import Floats, by_cluster


def by_prompt(samples: Floats, prompts: Sequence[str]) -> tuple[Floats, tuple[str, ...]]:
    """Let each prompt count as one sample. Shape: `(n, n_samples)`, a prompt's name each -> `(n, n_prompts)`, names.

    Raises:
        ValueError: As `by_cluster`.
    """
    return by_cluster(samples[:, :, None], prompts)[:, :, 0], tuple(sorted(set(prompts)))


def on_all_prompts(by_value: Sequence[tuple[Floats, Sequence[str]]]) -> Floats:
    """Put values with prompts of their own into one array.

    Args:
        by_value: For each value its means by prompt `(n, n_prompts)` and the prompts' names, see `by_prompt`.

    Returns:
        Shape: `(n, N, k)`, see above; prompts sorted by name.

    Raises:
        ValueError: If a value has fewer than two prompts.
    """
    together = sorted({name for _, names in by_value for name in names})
    place = {name: number for number, name in enumerate(together)}
    total = len(place)
    array = np.empty((len(by_value[0][0]), total, len(by_value)))
    for value, (means, names) in enumerate(by_value):
        n = len(names)
        if n < 2:
            raise ValueError(f"A value has {n} prompts: a standard error needs at least two.")
        scores = means.mean(axis=1, keepdims=True)
        factor = np.sqrt(total / n * (total - 1) / (n - 1))
        array[:, :, value] = scores
        array[:, [place[name] for name in names], value] += factor * (means - scores)
    return array
