"""What the penalty did to a vector's own value: its scores against those of training without the penalty."""

from collections.abc import Sequence

import numpy as np

from mva.statistics.estimate import interval, mean_estimate
from mva.statistics.verdicts import verdict


def paired_scores(
    scores: Sequence[float], independent: Sequence[float], *, smallest_difference: float
) -> dict[str, float | str]:
    """Compare rewards on the same prompts, in the same order; at least two.

    `smallest_difference`, what matters, is a share of the rewards' standard deviation.

    Returns:
        `score` and `score_independent` (means), their `difference` with its 95 % interval `low`, `high` (Student's t
        over the prompts' differences), the `verdict`, and `n_prompts`.
    """
    matters = smallest_difference * float(np.std([*scores, *independent]))
    difference = interval([mean_estimate(np.subtract(scores, independent))])
    return {
        "score": float(np.mean(scores)),
        "score_independent": float(np.mean(independent)),
        "difference": difference.estimate,
        "low": difference.low,
        "high": difference.high,
        "verdict": str(verdict(difference, smallest_difference=matters)),
        "n_prompts": difference.n_prompts,
    }
