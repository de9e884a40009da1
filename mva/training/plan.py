"""Plans: in which order vectors are trained, on what, and against which earlier ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Literal, Protocol

from mva.checks import Bounds, check
from mva.models.value_vector import ValueVector
from mva.training.orthogonal_complement import OrthogonalComplement
from mva.training.preferences import name_of, weight_lattice
from mva.training.task import Margin, Task

Divisions = Annotated[int, Bounds(1, 1000)]
MarginKind = Literal["implicit", "reward"]


class FitVector(Protocol):
    """Train vectors."""

    def __call__(self, task: Task) -> ValueVector:
        """Return the trained vector (or the stored one of the same specification)."""
        ...

    def margin(self, value: str) -> Margin:
        """Return the reward of a value as a margin."""
        ...

    def together(self, values: Sequence[str]) -> list[ValueVector]:
        """Return the values' vectors, trained at the same time, each penalised for what it shares with all others."""
        ...


class Plan(Protocol):
    """Order and coupling of training."""

    def names(self, values: Sequence[str]) -> tuple[str, ...]:
        """Name the vectors that `train` returns, in their order: the axes of the space of coefficients."""
        ...

    def train(self, values: Sequence[str], fit: FitVector) -> list[ValueVector]:
        """Return the vectors."""
        ...


class _OneEach:
    """One vector a value, in the order of the values."""

    def names(self, values: Sequence[str]) -> tuple[str, ...]:
        """Name each vector after its value."""
        return tuple(values)


@dataclass(frozen=True)
class Sequential(_OneEach):
    """Value decorrelation training (arXiv 2511.17579, Sec. 4.1): what vectors share with earlier ones is penalised."""

    def train(self, values: Sequence[str], fit: FitVector) -> list[ValueVector]:
        """Train in the given order; the order matters."""
        vectors: list[ValueVector] = []
        for value in values:
            vectors.append(fit(Task(value, earlier=tuple(vectors))))
        return vectors


@dataclass(frozen=True)
class Independent(_OneEach):
    """Every vector on its own, as rewarded soups do (arXiv 2306.04488): the baseline without decorrelation."""

    def train(self, values: Sequence[str], fit: FitVector) -> list[ValueVector]:
        """Train each value with no knowledge of the others."""
        return [fit(Task(value)) for value in values]


@dataclass(frozen=True)
class Joint(_OneEach):
    """Decorrelation with no order: all vectors at once, every one penalised for what it shares with all others."""

    def train(self, values: Sequence[str], fit: FitVector) -> list[ValueVector]:
        """Train them together; the order of the values changes nothing but the order of the vectors."""
        return fit.together(values)


@dataclass(frozen=True)
class Orthogonal(_OneEach):
    """OrthAlign (arXiv 2509.24610): each vector stays in the orthogonal complement of those before it; no penalty."""

    constraint: OrthogonalComplement

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def train(self, values: Sequence[str], fit: FitVector) -> list[ValueVector]:
        """Train in the given order; the first vector is free."""
        vectors: list[ValueVector] = []
        for value in values:
            vectors.append(fit(Task(value, earlier=tuple(vectors), constraint=self.constraint if vectors else None)))
        return vectors


@dataclass(frozen=True)
class Chained:
    """Sequential DPO: one adapter, value after value; each stage's reference policy is what the stage before left."""

    def names(self, values: Sequence[str]) -> tuple[str, ...]:
        """Name what each stage leaves: `helpful`, then `helpful_then_harmless`."""
        return tuple(accumulate(values, "{}_then_{}".format))

    def train(self, values: Sequence[str], fit: FitVector) -> list[ValueVector]:
        """Train in the given order; the last vector has seen every value."""
        stages: list[ValueVector] = []
        for name, value in zip(self.names(values), values, strict=True):
            start = stages[-1] if stages else None
            stages.append(fit(Task(name, preferences={value: 1.0}, start=start)))
        return stages


@dataclass(frozen=True)
class LossWeighting:
    """One vector per preference weight, trained on `sum_v w_v L(D_v)`.

    A batch's pairs come from the values in the weights' proportions, so that every vector costs as much as any other.
    The weights are those of the simplex lattice with `divisions` steps. A single value's vector is its own.
    """

    divisions: Divisions = 4

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def names(self, values: Sequence[str]) -> tuple[str, ...]:
        """Name each vector after its weights in percent."""
        return tuple(map(name_of, weight_lattice(values, self.divisions)))

    def train(self, values: Sequence[str], fit: FitVector) -> list[ValueVector]:
        """Train a vector for each weight."""
        return [fit(Task(name_of(weights), preferences=weights)) for weights in weight_lattice(values, self.divisions)]


@dataclass(frozen=True)
class MarginWeighting:
    """MODPO (arXiv 2310.03708): one vector per preference weight, trained on one value, the others' rewards its margin.

    These are the implicit rewards of the others' own vectors, which are trained first (`margin: implicit`), or the
    values' rewards of the `reward` group, in their own units (`margin: reward`). Trained on is the value with the
    largest weight (of several, the first): the loss divides by it.
    """

    divisions: Divisions = 4
    margin: MarginKind = "implicit"

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def names(self, values: Sequence[str]) -> tuple[str, ...]:
        """Name each vector after its weights in percent."""
        return tuple(map(name_of, weight_lattice(values, self.divisions)))

    def train(self, values: Sequence[str], fit: FitVector) -> list[ValueVector]:
        """Train the values' own vectors, then one for each mixed weight."""
        alone = {value: fit(Task(value)) for value in values}
        margin_of: Mapping[str, ValueVector | Margin] = alone
        if self.margin == "reward" and len(values) > 1:
            margin_of = {value: fit.margin(value) for value in values}
        found = []
        for weights in weight_lattice(values, self.divisions):
            chosen = max(weights, key=lambda value: weights[value])
            margins = tuple((margin_of[v], weight) for v, weight in weights.items() if v != chosen)
            task = Task(name_of(weights), preferences={chosen: 1.0}, margins=margins)
            found.append(fit(task) if margins else alone[chosen])
        return found
