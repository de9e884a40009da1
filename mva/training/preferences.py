"""Preference weights: how much each value counts while one vector is trained (never called coefficients)."""

import math
from collections.abc import Iterator, Mapping, Sequence

MOST_WEIGHTS = 1000


def simplex_lattice(divisions: int, n: int) -> Iterator[tuple[int, ...]]:
    """All ways to write `divisions` as an ordered sum of `n` numbers from 0, the first one falling."""
    if n == 1:
        yield (divisions,)
        return
    for first in range(divisions, -1, -1):
        for rest in simplex_lattice(divisions - first, n - 1):
            yield first, *rest


def weight_lattice(values: Sequence[str], divisions: int) -> list[dict[str, float]]:
    """List the preference weights `k_v / divisions` that sum to 1; a value of weight 0 is left out.

    There are `(divisions + n - 1 choose n - 1)` of them for n values, the first of the single values first.

    Raises:
        ValueError: If `divisions` is below 1, or there are more than 1 000 of them.
    """
    if divisions < 1:
        raise ValueError(f"plan.divisions is {divisions}: at 1 there are the single values, at 4 steps of 0.25.")
    count = math.comb(divisions + len(values) - 1, len(values) - 1)
    if count > MOST_WEIGHTS:
        raise ValueError(
            f"plan.divisions is {divisions}, which makes {count} vectors of {len(values)} values: choose a lower one "
            f"(at most {MOST_WEIGHTS} vectors)."
        )
    lattice = simplex_lattice(divisions, len(values))
    return [{v: k / divisions for v, k in zip(values, parts, strict=True) if k} for parts in lattice]


def name_of(weights: Mapping[str, float]) -> str:
    """Name the vector of these weights, in percent: `helpful_75-harmless_25`; a single value's is its value."""
    if len(weights) == 1:
        return next(iter(weights))
    return "-".join(f"{value}_{100 * weight:.4g}".replace(".", "p") for value, weight in weights.items())


def interleave(weights: Mapping[str, float], n: int) -> list[str]:
    """Say whose pair comes next, n times, so that at any time each value's count is within 1 of its share."""
    counts, order = dict.fromkeys(weights, 0), []
    for k in range(1, n + 1):
        behind = max(weights, key=lambda value: weights[value] * k - counts[value])
        counts[behind] += 1
        order.append(behind)
    return order
