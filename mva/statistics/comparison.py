"""Many methods against the first: paired differences, their seeds' variance pooled, and what chance alone would say.

With few seeds a pair of methods hardly knows its own variance between seeds (3 seeds: 2 degrees of freedom). A table
of methods knows it better: seeds and prompts are the blocks of one design. The seeds' part is pooled over all
differences, unless a method's own is far above the others'; the prompts' part, which has enough degrees of freedom,
stays each difference's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution
from scipy.stats import t

from mva.statistics.estimate import LEVEL, Estimate, Interval, Variance, combined, interval, variance_of
from mva.statistics.verdicts import Verdict, verdict, what_decides

_UNLIKE = 0.01


@dataclass(frozen=True)
class Difference:
    """A method less the first, on the same prompts and seeds.

    `interval` and `verdict` are this comparison's own. `simultaneous` is the verdict with an interval that holds for
    all comparisons of the table at once (Holm); with one comparison the two are the same.
    """

    interval: Interval
    verdict: Verdict
    p_value: float
    simultaneous: Verdict


def differences(
    methods: Sequence[Sequence[Estimate]],
    first: Sequence[Estimate],
    *,
    smallest_difference: float,
    level: float = LEVEL,
) -> list[Difference]:
    """Compare methods with the first, seed by seed.

    Args:
        methods: Of each method the estimates of its seeds, in the first one's order of seeds.
        first: Of the first method.
        smallest_difference: What matters, in the estimates' units.
        level: Of the intervals; their family has the same one.

    Raises:
        ValueError: If numbers of seeds or prompts differ.
    """
    for method in methods:
        if len(method) != len(first):
            raise ValueError(f"The methods have {len(method)} and {len(first)} seeds: compare the seeds they share.")
    paired = [[mine - theirs for mine, theirs in zip(method, first, strict=True)] for method in methods]
    return judged(paired, smallest_difference=smallest_difference, level=level)


def judged(
    paired: Sequence[Sequence[Estimate]], *, smallest_difference: float, level: float = LEVEL
) -> list[Difference]:
    """Judge a family of paired differences, of each the estimates of its seeds; 0 is no difference.

    Args and errors: as `differences`.
    """
    variances = pooled([variance_of(estimates) for estimates in paired])
    intervals = [
        interval(estimates, level=level, variance=variance)
        for estimates, variance in zip(paired, variances, strict=True)
    ]
    p_values = [_p_value(difference) for difference in intervals]
    holds = holm(p_values, alpha=1 - level)
    return [
        _difference(difference, p_value, smallest_difference=smallest_difference, level=level, holds=held)
        for difference, p_value, held in zip(intervals, p_values, holds, strict=True)
    ]


def pooled(variances: Sequence[Variance]) -> list[Variance]:
    """Take the seeds' parts of several differences together.

    The differences share the first method, so that m of them with S seeds have about (m + 1) (S - 1) / 2 degrees of
    freedom. A difference whose variance between seeds is above the others' by an F test at 1 % keeps its own.
    """
    if len(variances) < 2 or variances[0].n_seeds < 2:
        return list(variances)
    n_seeds = variances[0].n_seeds
    between = np.array([variance.seeds + variance.interaction for variance in variances]) * n_seeds
    alike = np.ones(len(variances), dtype=bool)
    for number, own in enumerate(between):
        rest = np.delete(between, number).mean()
        limit = f_distribution.isf(_UNLIKE, n_seeds - 1, len(variances) * (n_seeds - 1) / 2)
        alike[number] = own <= limit * rest
    if alike.sum() < 2:
        return list(variances)
    df = (alike.sum() + 1) * (n_seeds - 1) / 2
    shared_interaction = float(np.mean([v.interaction for v, like in zip(variances, alike, strict=True) if like]))
    shared_between = float(between[alike].mean())
    return [
        combined(
            variance.prompts + variance.interaction,
            shared_interaction * n_seeds,
            shared_between,
            n_prompts=variance.n_prompts,
            n_seeds=n_seeds,
            df_seeds=float(df),
        )
        if like
        else variance
        for variance, like in zip(variances, alike, strict=True)
    ]


def holm(p_values: Sequence[float], *, alpha: float) -> list[bool]:
    """Say which differences hold if all of them are to be right at once. Source: Holm 1979, Scand. J. Stat. 6."""
    order = np.argsort(p_values)
    holds = [False] * len(p_values)
    for rank, number in enumerate(order):
        if p_values[number] > alpha / (len(p_values) - rank):
            break
        holds[number] = True
    return holds


def expected_by_chance(n_comparisons: int, *, level: float = LEVEL) -> float:
    """How many of a table's verdicts "better" or "worse" chance alone gives, were all methods equal."""
    return n_comparisons * (1 - level)


def chance_line(n_comparisons: int, *, level: float = LEVEL) -> str:
    """The same in words."""
    expected = expected_by_chance(n_comparisons, level=level)
    return f"Of {n_comparisons} comparisons without any difference, chance calls {expected:.2g} better or worse."


def _p_value(difference: Interval) -> float:
    if difference.variance.total <= 0:
        return 1.0 if difference.estimate == 0 else 0.0
    return float(2 * t.sf(abs(difference.estimate) / np.sqrt(difference.variance.total), difference.variance.df))


def _difference(
    interval_of: Interval, p_value: float, *, smallest_difference: float, level: float, holds: bool
) -> Difference:
    alone = verdict(interval_of, smallest_difference=smallest_difference, level=level)
    if holds or alone.word not in ("better", "worse"):
        return Difference(interval_of, alone, p_value, alone)
    needed = what_decides(interval_of, smallest_difference, level=level)
    return Difference(interval_of, alone, p_value, Verdict("undecided", smallest_difference, *needed))
