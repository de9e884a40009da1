"""Views of value vectors as samples, and the dependence between vectors that are seen so.

    dependence(theta; theta_1, ..., theta_k) = sum_j sum_m estimator(view(theta)_m, view(theta_j)_m)

(arXiv 2511.17579, Sec. 4.1). All pairs of modules of equal shapes go through the estimator as one batch, so
the cost is linear in the number of earlier vectors and there is no loop over modules in the arithmetic.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from mva.checks import MANY, Bounds, check
from mva.estimators.base import Estimator, View, check_view
from mva.fingerprint import kind
from mva.models.value_vector import LowRank

Factors = Mapping[str, LowRank]


@dataclass(frozen=True)
class LowRankStack:
    """The updates `s_m B_m A_m` of several modules, as their factors.

    Shape: `a` is `(modules, r, d_in)`, `b` is `(modules, d_out, r)`, `scaling` is `(modules,)`.
    """

    a: Tensor
    b: Tensor
    scaling: Tensor


@dataclass(frozen=True)
class FrozenSamples:
    """What a view shows of earlier vectors in modules of equal shapes; a module comes once for each vector."""

    modules: tuple[str, ...]
    samples: Any


@kind("mva.estimators.samples.FactorRows")
@dataclass(frozen=True)
class FactorRows:
    """The r rows of A, or the r columns of B, as samples: the paper's public code takes the rows of A.

    Row k of one vector is paired with row k of the other. This pairing is not identifiable: `(M A, B M^-1)`
    is the same update as `(A, B)`, but other rows. The scaling plays no part.
    """

    factor: Literal["A", "B"] = "A"

    name: ClassVar[str] = "factor_rows"
    invariances: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def __call__(self, factors: Sequence[LowRank], _modules: Sequence[str] = ()) -> Tensor:
        """Stack the samples. Shape: `(modules, r, d_in)` for A, `(modules, r, d_out)` for B."""
        return _stack([update.a if self.factor == "A" else update.b.T for update in factors])


@kind("mva.estimators.samples.Update")
@dataclass(frozen=True)
class Update:
    """The update `s B A` itself, never formed: a function of the update alone, however it is factored."""

    name: ClassVar[str] = "update"
    invariances: ClassVar[frozenset[str]] = frozenset({"refactoring"})

    def __call__(self, factors: Sequence[LowRank], _modules: Sequence[str] = ()) -> LowRankStack:
        """Stack the factors."""
        a, b = _stack([update.a for update in factors]), _stack([update.b for update in factors])
        return LowRankStack(a, b, a.new_tensor([update.scaling for update in factors]))


@kind("mva.estimators.samples.UpdateRows")
@dataclass(frozen=True)
class UpdateRows:
    """The rows of the update `s B A` as samples: row k is what the vector adds to output coordinate k.

    Unlike the rows of a factor they have natural partners in every other vector. Beyond `sketch` rows, that many fixed
    random mixtures stand for them: `S (s B A)` with Gaussian S of variance 1 / sketch, which keeps lengths and angles
    on average. They are computed as `s (S B) A`, so that the update is never formed.
    """

    sketch: Annotated[int, Bounds(4, MANY)] = 64

    name: ClassVar[str] = "update_rows"
    invariances: ClassVar[frozenset[str]] = frozenset({"refactoring"})

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def __call__(self, factors: Sequence[LowRank], _modules: Sequence[str] = ()) -> Tensor:
        """Stack the samples. Shape: `(modules, min(sketch, d_out), d_in)`."""
        stack = Update()(factors)
        b = (
            stack.b
            if stack.b.shape[-2] <= self.sketch
            else _mixtures(self.sketch, stack.b.shape[-2]).to(stack.b) @ stack.b
        )
        return (stack.scaling[:, None, None] * b) @ stack.a


def check_paired(x: Tensor, y: Tensor, *, name: str, at_least: int = 1) -> None:
    """Refuse samples that can't be paired, or are too few.

    Raises:
        ValueError: If `x` and `y` differ in the number of samples, or have fewer than `at_least`.
    """
    n = x.shape[-2]
    if n != y.shape[-2]:
        raise ValueError(
            f"{name} pairs the samples, but one vector has {n} and the other {y.shape[-2]}: "
            f"train the vectors with the same adapter.rank, or choose estimator=correlation."
        )
    if n < at_least:
        raise ValueError(
            f"{name} needs at least {at_least} samples, but the view shows {n}: raise adapter.rank to {at_least}, "
            f"or choose penalty=update_rows or estimator=correlation."
        )


def dependence(estimator: Estimator[Any], view: View[Any], current: Factors, earlier: Sequence[Factors]) -> Tensor:
    """Sum the dependence of `current` on each of the `earlier` vectors over the modules that both adapt.

    A module that only one of two vectors has is no dependence; with nothing in common the result is 0.

    Returns:
        Dependence, differentiable in the factors. Shape: `()`.

    Raises:
        IncompatibleView: If the estimator can't take the view.
    """
    check_view(estimator, view)
    sums = [estimator(x, y).sum() for x, y in paired(view, current, freeze(view, current, earlier))]
    return torch.stack(sums).sum() if sums else torch.zeros(())


def per_module(
    estimator: Estimator[Any], view: View[Any], current: Factors, earlier: Sequence[Factors]
) -> dict[str, Tensor]:
    """Like `dependence`, but summed over the earlier vectors only: one scalar for each common module.

    The modules come in the order of `current`.
    """
    check_view(estimator, view)
    totals: dict[str, Tensor] = {}
    frozen = freeze(view, current, earlier)
    for group, (x, y) in zip(frozen, paired(view, current, frozen), strict=True):
        for name, value in zip(group.modules, estimator(x, y), strict=True):
            totals[name] = totals[name] + value if name in totals else value
    return {name: totals[name] for name in current if name in totals}


def freeze(view: View[Any], current: Factors, earlier: Sequence[Factors]) -> list[FrozenSamples]:
    """Look at the earlier vectors once for a whole training: a group for each combination of shapes with `current`."""
    groups: dict[tuple[torch.Size, ...], list[tuple[str, LowRank]]] = defaultdict(list)
    for other in earlier:
        for name, update in current.items():
            if name in other:
                match = other[name]
                groups[update.a.shape, update.b.shape, match.a.shape, match.b.shape].append((name, match))
    frozen = []
    for group in groups.values():
        modules = tuple(name for name, _ in group)
        frozen.append(FrozenSamples(modules, view([match for _, match in group], modules)))
    return frozen


def paired(view: View[Any], current: Factors, earlier: Sequence[FrozenSamples]) -> Iterator[tuple[Any, Any]]:
    """Give the samples of `current` beside those of the earlier vectors, group by group."""
    for group in earlier:
        yield view([current[name] for name in group.modules], group.modules), group.samples


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """Stack in float32 or better: in half precision a difference of kernel values rounds to nothing."""
    stacked = torch.stack(list(tensors))
    return stacked.to(torch.promote_types(stacked.dtype, torch.float32))


@lru_cache(maxsize=16)
def _mixtures(n_mixtures: int, n_rows: int) -> Tensor:
    """Draw the sketch, the same one in every process: training and reports must look at the same rows."""
    noise = torch.randn(n_mixtures, n_rows, generator=torch.Generator().manual_seed(n_rows), dtype=torch.float64)
    return noise / n_mixtures**0.5
