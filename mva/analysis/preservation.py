"""What the penalty did to a vector's own value: its scores against those of training without the penalty."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student_t


def paired_scores(scores: Sequence[float], independent: Sequence[float]) -> dict[str, float]:
    """Compare rewards on the same prompts, in the same order; at least two.

    Returns:
        `score` and `score_independent` (means), their `difference` with its 95 % interval `low`, `high` (Student's t
        over the prompts' differences), and `n_prompts`.
    """
    differences = np.subtract(scores, independent)
    n, difference = len(differences), float(differences.mean())
    half = float(student_t.ppf(0.975, n - 1) * differences.std(ddof=1) / n**0.5)
    return {
        "score": float(np.mean(scores)),
        "score_independent": float(np.mean(independent)),
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "n_prompts": n,
    }
