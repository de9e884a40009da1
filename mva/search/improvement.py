"""Which candidates promise most hypervolume, given draws of the true scores.

The hypervolume that points dominate above a reference point is an average over directions (Golovin and Zhang 2020,
arXiv 2006.04655, Lemma 5):

    HV(Y) = c_k E_lambda[ max_y min_i ( max(0, y_i - r_i) / lambda_i )^k ]

with lambda uniform on the positive part of the unit sphere. So what a further point would add is an average of
one-dimensional improvements, for any number k of values. With draws of the true scores at all points together it is the
expected improvement of the noisy hypervolume (Daulton et al. 2021, arXiv 2105.08195): the scores of what was evaluated
are drawn, too. Points of one batch are chosen one after the other, each given those before it.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def directions(n: int, n_values: int, generator: np.random.Generator) -> Floats:
    """Draw unit vectors with no negative entry. Shape: `(n, n_values)`."""
    normals = np.abs(generator.standard_normal((n, n_values)))
    return np.asarray(np.maximum(normals / np.linalg.norm(normals, axis=1, keepdims=True), 1e-6))


def reach(scores: Floats, reference: Floats, along: Floats) -> Floats:
    """How far each point reaches in each direction, to the power k: `min_i(max(0, y_i - r_i) / lambda_i)^k`.

    Shape: `(..., n, k)`, `(k,)`, `(n_directions, k)` -> `(..., n, n_directions)`.
    """
    above = np.maximum(scores - reference, 0.0)
    least = np.full((*above.shape[:-1], len(along)), np.inf)
    for value in range(above.shape[-1]):
        np.minimum(least, above[..., value, None] / along[:, value], out=least)
    return np.asarray(least ** above.shape[-1])


def most_promising(
    evaluated: Floats, open_points: Floats, reference: Floats, along: Floats, *, count: int
) -> list[int]:
    """Choose `count` of the open points, each the one that adds most to those before it.

    Shape: draws of the true scores, `evaluated` `(n_draws, n, k)` and `open_points` `(n_draws, m, k)`; `reference`
    `(k,)`, `along` `(n_directions, k)`.
    """
    reached = reach(evaluated, reference, along).max(axis=1)
    promised = reach(open_points, reference, along)
    chosen: list[int] = []
    for _ in range(count):
        gains = np.maximum(promised - reached[:, None], 0.0).mean(axis=(0, 2))
        gains[chosen] = -1.0
        best = int(gains.argmax())
        chosen.append(best)
        reached = np.maximum(reached, promised[:, best])
    return chosen
