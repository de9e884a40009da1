"""Leave out the preference pairs on which the values disagree (VC-Soup, arXiv 2603.18113)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from mva.checks import Bounds, check
from mva.data.preference import PreferencePair, ValueData
from mva.rewards.agreement import score_pairs
from mva.rewards.base import Reward


@dataclass(frozen=True)
class Consistency:
    """Train on the pairs whose consistency is at least `threshold`.

    A pair's reward gaps are `g_v = (r_v(x, chosen) - r_v(x, rejected)) / s_v`, where `s_v` is the root mean square of
    the gaps of value v over all pairs (rewards have no common unit); `scaled=False` takes the paper's plain gaps,
    `s_v = 1`. Its consistency is their cosine
    with the vector of ones,

        sum_v g_v / (sqrt(n) ||g||)   in [-1, 1]:

    1 where all n values gain alike, 0 where the losses weigh as much as the gains. A pair without any gap has 0.

    Source: arXiv 2603.18113 (the metric); the scaling by `s_v` is ours.
    """

    threshold: Annotated[float, Bounds(-1, 1, above=True, below=True)] = 0.0
    scaled: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def select(self, data: Mapping[str, ValueData], rewards: Mapping[str, Reward]) -> dict[str, ValueData]:
        """Return the data with fewer training pairs; what is held out stays whole.

        Raises:
            ValueError: If a value has no pair left.
        """
        gaps = {value: _gaps(some.train, rewards) for value, some in data.items()}
        everything = torch.cat(list(gaps.values()))
        scale = everything.square().mean(dim=0).sqrt() if self.scaled else torch.ones_like(everything[0])
        kept = {}
        for value, some in data.items():
            keep = consistency(gaps[value] / scale.clamp(min=1e-12)) >= self.threshold
            if not keep.any():
                raise ValueError(
                    f"No pair of '{value}' has a consistency of filter.threshold={self.threshold}: lower it."
                )
            kept[value] = replace(some, train=tuple(p for p, k in zip(some.train, keep, strict=True) if k))
        return kept


def consistency(gaps: Tensor) -> Tensor:
    """Return each pair's cosine with the vector of ones. Shape: `(n_pairs, n_values)` -> `(n_pairs,)`."""
    norms = gaps.norm(dim=1) * gaps.shape[1] ** 0.5
    return torch.where(norms > 0, gaps.sum(dim=1) / norms.clamp(min=1e-300), 0.0)


def _gaps(pairs: Sequence[PreferencePair], rewards: Mapping[str, Reward]) -> Tensor:
    """Score chosen against rejected by every reward. Shape: `(n_pairs, n_values)`."""
    scores = torch.stack([score_pairs(reward, pairs).double() for reward in rewards.values()])
    return (scores[..., 0] - scores[..., 1]).T
