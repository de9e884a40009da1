"""What learned estimators share: samples of one small dimension, and how a critic is fitted to them.

One critic serves all modules. Samples of every module are centred, projected by a fixed random matrix to a common
dimension and brought to unit variance, so that the critic can't see from which module they come, nor at what scale.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from mva.estimators.base import Critic, LearnedEstimator, View
from mva.estimators.samples import FactorRows, check_paired

ROWS = frozenset({"factor_rows", "update_rows", "activations"})
LIMIT = 1e4
"""Nats. A few dozen numbers share a few dozen nats: a bound beyond this says only that the critic has diverged."""

Batches = Iterable[tuple[Tensor, Tensor]]


class RowCritic(nn.Module):
    """What the critics' classes have in common: which samples they take, and how they bring them to their size."""

    views: ClassVar[frozenset[str]] = ROWS
    default_view: ClassVar[View[Tensor]] = FactorRows("A")
    invariances: ClassVar[frozenset[str]] = frozenset({"scale"})

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension

    def compress(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Bring paired samples to the critic's dimension and precision."""
        check_paired(x, y, name=type(self).__name__, at_least=2)
        dtype = next(self.parameters()).dtype
        return compress(x, self.dimension).to(dtype), compress(y, self.dimension).to(dtype)


def compress(x: Tensor, dimension: int) -> Tensor:
    """Centre, project and scale each module's samples; constant samples become 0.

    Where there are no more than `dimension` numbers in a sample they are kept, and zeros appended.

    Shape: `(modules, n, d) -> (modules, n, dimension)`.
    """
    projected = x - x.mean(dim=-2, keepdim=True)
    if x.shape[-1] > dimension:
        projected = projected @ _projection(x.shape[-1], dimension).to(x)
    square = projected.square().mean(dim=(-2, -1), keepdim=True)
    scaled = projected / torch.where(square > 0, square, 1.0).sqrt()
    return nn.functional.pad(scaled, (0, dimension - scaled.shape[-1]))


def mismatched(y: Tensor, count: int) -> Tensor:
    """Pair every sample with wrong partners, by `count` cyclic shifts (or n - 1, which is all of them).

    Shape: `(modules, n, d) -> (modules, shifts, n, d)`.
    """
    return torch.stack([y.roll(shift, dims=-2) for shift in range(1, min(count, y.shape[-2] - 1) + 1)], dim=-3)


def adam(critic: Critic, learning_rate: float) -> torch.optim.Optimizer:
    """The optimizer of a critic; the decay keeps it from learning a fixed set of samples by heart."""
    return torch.optim.AdamW(critic.parameters(), lr=learning_rate, weight_decay=1e-2)


@torch.enable_grad()
def fit(critic: Critic, optimizer: torch.optim.Optimizer, batches: Batches, *, steps: int) -> float:
    """Fit the critic to the batches together, `steps` times; return the last loss (0 if there was none).

    The samples are taken as constants, and the critic's parameters take gradients in here only: nothing of one
    objective reaches the other's parameters.

    Raises:
        FloatingPointError: If the loss is not finite, or beyond anything that samples could share.
    """
    constants = [(x.detach(), y.detach()) for x, y in batches]
    if not constants:
        return 0.0
    critic.requires_grad_(True)
    loss = torch.zeros(())
    try:
        for _ in range(steps):
            loss = torch.stack([critic.fit_loss(x, y) for x, y in constants]).mean()
            check_bound(critic, loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finally:
        optimizer.zero_grad()
        critic.requires_grad_(False)
    return loss.item()


def check_bound(critic: Critic, bound: Tensor) -> None:
    """Stop where a critic has diverged.

    Raises:
        FloatingPointError: If any value is not finite, or beyond `LIMIT` nats.
    """
    largest = bound.detach().abs().max().item()
    if not largest <= LIMIT:
        raise FloatingPointError(
            f"The critic of {type(critic).__name__} has diverged (its bound is {largest:.3g} nats): lower "
            f"estimator.budget.learning_rate or penalty.strength, or choose estimator=normalized_hsic, which has none."
        )


def measure(estimator: LearnedEstimator, x: Tensor, y: Tensor) -> Tensor:
    """Measure each module by a critic of its own making: fitted to every second sample, asked about the others.

    Asked about samples that it was fitted to, a critic would report what it knows by heart as dependence.

    Shape: `x` `(modules, n, d_x)`, `y` `(modules, n, d_y)` -> `(modules,)`, differentiable in the samples asked about.
    """
    check_paired(x, y, name=type(estimator).__name__, at_least=4)
    critic = estimator.critic(seed=0)
    critic.to(x.device, x.dtype)
    budget, seen = estimator.budget, (x[:, ::2], y[:, ::2])
    fit(critic, adam(critic, budget.learning_rate), [seen], steps=budget.warmup)
    bound = critic(x[:, 1::2], y[:, 1::2])
    check_bound(critic, bound)
    return bound


@lru_cache(maxsize=16)
def _projection(d: int, dimension: int) -> Tensor:
    """Draw the projection, the same one in every process."""
    return torch.randn(d, dimension, generator=torch.Generator().manual_seed(d), dtype=torch.float64) / d**0.5
