"""Rewards as the statistics take them: one array a run, checked once.

A run is one method and one training seed; its rewards have the shape `(n_candidates, n_prompts, n_values)`, and its
scores are their means over prompts. Prompts are the sample: everything that is said of scores speaks of further
prompts of the kind.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
MINIMUM_PROMPTS = 10
"""Fewer prompts (or clusters of prompts) give no verdict: intervals from them were not simulated."""


def as_rewards(rewards: ArrayLike) -> Floats:
    """Take rewards as a finite float64 array. Shape: `(n_candidates, n_prompts, n_values)`, kept.

    Raises:
        ValueError: If the shape is another, there are fewer than two prompts, or a reward is NaN or infinite.
    """
    array = np.asarray(rewards, dtype=np.float64)
    if array.ndim != 3 or 0 in array.shape or array.shape[1] < 2:
        raise ValueError(
            f"Rewards have the shape (n_candidates, n_prompts, n_values) with at least 2 prompts, not {array.shape}."
        )
    if not np.isfinite(array).all():
        raise ValueError("Some rewards are NaN or infinite: score them anew.")
    return array


def by_cluster(rewards: ArrayLike, clusters: Sequence[str]) -> Floats:
    """Let each cluster of prompts count as one prompt: prompts of a kind are no independent sample.

    A cluster counts as the mean over all prompts plus `n_clusters / n_prompts` times the sum of its prompts' deviations
    from it. The mean over clusters is then that over prompts, and the clusters' sizes add no variance.
    Shape: `(n, n_prompts, k)`, one label a prompt -> `(n, n_clusters, k)`. Source: clustered standard errors, Miller
    2024, arXiv 2411.00640, Sec. 2.2.

    Raises:
        ValueError: As `as_rewards`, or if there is not one label a prompt, or fewer than two clusters.
    """
    array = as_rewards(rewards)
    if len(clusters) != array.shape[1]:
        raise ValueError(f"There are {len(clusters)} cluster labels for {array.shape[1]} prompts: give one a prompt.")
    names, members = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        raise ValueError("All prompts are of one cluster: an interval needs at least two.")
    membership = np.eye(len(names))[members] * len(names) / array.shape[1]
    means = array.mean(axis=1, keepdims=True)
    return np.asarray(means + np.einsum("npk,pc->nck", array - means, membership))
