"""What a dependence estimator is, and what it is fed with.

A *view* turns the low-rank updates of several modules into one batched sample; an *estimator* measures,
per module, the dependence between the samples of two value vectors. The two are orthogonal: an estimator
names the views that it can take.

Both say which changes of a vector leave the dependence as it is (`invariances`, see `invariances_of`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from mva.checks import Bounds, Count, CountFrom0, Positive, check
from mva.fingerprint import kind
from mva.models.value_vector import LowRank

Width = Annotated[int, Bounds(1, 65_536)]
"""A dimension of a critic."""

SampleIn = TypeVar("SampleIn", contravariant=True)
SampleOut = TypeVar("SampleOut", covariant=True)


class View(Protocol[SampleOut]):
    """Turn the updates of modules of equal shapes into one batched sample."""

    name: ClassVar[str]
    """The name by which estimators say that they can take this view."""

    invariances: ClassVar[frozenset[str]]
    """Changes of a vector that the view does not show."""

    def __call__(self, factors: Sequence[LowRank], modules: Sequence[str] = (), /) -> SampleOut:
        """Stack the updates of several modules of equal shapes; few views have to know the modules' names."""
        ...


class Estimator(Protocol[SampleIn]):
    """Measure the dependence between two value vectors, module by module. Zero means none was found.

    Estimators are frozen dataclasses: their fields are part of a value vector's identity.
    """

    views: ClassVar[frozenset[str]]
    """Names of the views that the estimator can take."""

    default_view: ClassVar[View[Any]]
    """The view that is used where the configuration names none."""

    invariances: ClassVar[frozenset[str]]
    """Changes of a vector that leave the dependence as it is, whatever the view."""

    def __call__(self, x: SampleIn, y: SampleIn) -> Tensor:
        """Return one dependence per module, differentiable in `x` and `y`. Shape: `(modules,)`."""
        ...


class Critic(Estimator[Tensor], Protocol):
    """A network that, fitted to samples, bounds their mutual information: the living form of a learned estimator.

    When called it is an estimator whose parameters are taken as they are: no gradient reaches them. The calls are
    deterministic, so that training can be resumed and repeated.
    """

    def fit_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the critic's own objective, to be minimised over its parameters. Shape: `()`."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Give what is fitted."""
        ...

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Let the parameters take gradients, or no longer."""
        ...

    def to(self, device: torch.device, dtype: torch.dtype) -> Any:
        """Move the critic to where the samples are."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint keeps."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take what a checkpoint kept."""
        ...


@kind("mva.estimators.base.CriticBudget")
@dataclass(frozen=True)
class CriticBudget:
    """How a critic is fitted: `warmup` Adam steps before the first batch, then `steps` before every later one.

    Each step sees all samples. They change little from batch to batch: a critic with many steps learns them by heart,
    and then reports dependence of independent vectors. Outside training, where vectors are only measured, a critic gets
    the warm-up alone, on one half of the samples, and is asked about the other.
    """

    warmup: Count = 100
    steps: CountFrom0 = 2
    learning_rate: Positive = 2e-3

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)


@runtime_checkable
class LearnedEstimator(Protocol):
    """The configuration of an estimator that has a critic. It is an `Estimator` itself, fitted anew at every call."""

    @property
    def budget(self) -> CriticBudget:
        """How the critic is fitted."""
        ...

    def critic(self, seed: int) -> Critic:
        """Make a fresh critic, the same one for the same seed."""
        ...


def invariances_of(estimator: Estimator[Any], view: View[Any]) -> frozenset[str]:
    """Say which changes of one of two vectors leave their dependence as it is.

    - `scale`: both factors times a positive number. Without it a penalty can be lowered by shrinking alone.
    - `refactoring`: `(A, B) -> (M A, B M^-1)`, which is the same update. Without it a penalty can be lowered, and a
      dependence hidden, with no change of the model.
    - `row_permutation`: the rows of A and the columns of B in another order; a refactoring of a special kind.
    """
    declared = estimator.invariances | view.invariances
    return declared | {"row_permutation"} if "refactoring" in declared else declared


class IncompatibleView(ValueError):
    """An estimator was paired with a view that it can't take."""


def check_view(estimator: Estimator[Any], view: View[Any]) -> None:
    """Refuse a pairing of an estimator with a view that it can't take.

    Raises:
        IncompatibleView: With the list of the views that the estimator can take.
    """
    if view.name not in estimator.views:
        raise IncompatibleView(
            f"{type(estimator).__name__} can't take the view '{view.name}': set penalty.view to one of "
            f"{', '.join(sorted(estimator.views))}, or to null for its default."
        )
