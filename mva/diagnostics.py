"""What the value vectors have to do with each other, and what the penalty did to them.

Every dependence stands beside its chance level and beside what independent training gives: only both together can
falsify the premise that vectors interfere, and that the penalty parts them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from mva.analysis.preservation import paired_scores
from mva.estimators.activations import Activations
from mva.estimators.base import LearnedEstimator
from mva.estimators.chance import chance_level
from mva.estimators.correlation import Correlation
from mva.estimators.samples import FactorRows, Update, dependence, per_module
from mva.estimators.subspace_overlap import SubspaceOverlap
from mva.evaluation.base import CandidateEvaluator
from mva.evaluation.evaluator import NonFiniteLogits
from mva.experiment import Session
from mva.extrapolation.space import CoefficientSpace
from mva.models.probe import module_inputs
from mva.models.value_vector import ValueVector
from mva.objectives.decorrelation import Decorrelation

Pair = tuple[ValueVector, ValueVector]
PANELS = {
    "A": Decorrelation(SubspaceOverlap(), FactorRows("A")),
    "B": Decorrelation(SubspaceOverlap(), FactorRows("B")),
    "update": Decorrelation(Correlation(), Update()),
    "activations": Decorrelation(Correlation(), Activations()),
}
"""The interference map's measures, all in [0, 1] and changed neither by shrinking nor by refactoring a vector."""


@dataclass(frozen=True)
class Diagnostics:
    """Measures of a session's vectors; `independent` are the same values' vectors trained without a penalty."""

    session: Session
    vectors: Sequence[ValueVector]
    independent: Sequence[ValueVector]
    draws: int = 20

    def dependence(self) -> dict[str, Any]:
        """Measure every two vectors by the penalty's estimator and by the squared cosine of their updates.

        Returns:
            `pairs` (`estimator`, `view`, `first`, `second`, `dependence`, `chance_mean`, `chance_sd`, `z`, and
            `independent_training`: the same of the independently trained vectors), `norms` by value, `draws`.
        """
        measures = {(type(m.estimator), m.view): m for m in (self._decorrelation, Decorrelation(Correlation()))}
        rows = [self._pair(measure, *pairs) for measure in measures.values() for pairs in self._pairs()]
        return {"pairs": rows, "norms": {vector.value: vector.norm() for vector in self.vectors}, "draws": self.draws}

    def interference_map(self) -> dict[str, Any]:
        """Measure every two vectors module by module: what they read (A), what they write (B), both, what they do.

        Returns:
            `pairs`: `first`, `second`, and `panels` by name: `estimator`, `chance` (a module's, on average), `modules`.
        """
        return {"pairs": [self._panels(*pair) for pair, _ in self._pairs()]}

    @property
    def _decorrelation(self) -> Decorrelation:
        return self.session.experiment.decorrelation

    def _pairs(self) -> Iterator[tuple[Pair, Pair]]:
        """Give every two vectors (the earlier one first), and the independent ones of the same values."""
        yield from zip(combinations(self.vectors, 2), combinations(self.independent, 2), strict=True)

    def _pair(self, measure: Decorrelation, pair: Pair, independent: Pair) -> dict[str, Any]:
        (first, second), estimator = pair, measure.estimator
        ready = measure.on(self._inputs(measure, second))
        draws = max(2, self.draws // 4) if isinstance(estimator, LearnedEstimator) else self.draws
        level = chance_level(
            estimator, ready.view, second.factors, first.factors, draws=draws, generator=self._generator()
        )
        other = dependence(estimator, ready.view, independent[1].factors, [independent[0].factors])
        return {
            "estimator": type(estimator).__name__,
            "view": measure.view.name,
            "first": first.value,
            "second": second.value,
            "dependence": level.measured,
            "independent_training": other.item(),
            "chance_mean": level.mean,
            "chance_sd": level.standard_deviation,
            "z": level.z,
        }

    def _panels(self, first: ValueVector, second: ValueVector) -> dict[str, Any]:
        panels = {}
        for name, measure in PANELS.items():
            view = measure.on(self._inputs(measure, second)).view
            modules = per_module(measure.estimator, view, second.factors, [first.factors])
            # A sum over many modules hardly varies: a few draws give its mean.
            draws = max(2, self.draws // 4)
            level = chance_level(
                measure.estimator, view, second.factors, first.factors, draws=draws, generator=self._generator()
            )
            panels[name] = {
                "estimator": type(measure.estimator).__name__,
                "chance": level.mean / max(1, len(modules)),
                "modules": {module: value.item() for module, value in modules.items()},
            }
        return {"first": first.value, "second": second.value, "panels": panels}

    def _inputs(self, measure: Decorrelation, vector: ValueVector) -> Mapping[str, Tensor]:
        """What the modules are fed with by the value's own training responses, where the view asks for it."""
        view = measure.view
        if not isinstance(view, Activations):
            return {}
        pairs = self.session.tokenized[vector.value].train
        inputs = module_inputs(self.session.backbone, pairs, vector.factors.keys(), tokens=view.tokens)
        return {name: x.cpu() for name, x in inputs.items()}

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.session.experiment.seed)


def preservation(
    vectors: Sequence[ValueVector],
    independent: Sequence[ValueVector],
    evaluate: CandidateEvaluator,
    evaluate_independent: CandidateEvaluator,
    *,
    space: CoefficientSpace,
    smallest_difference: float,
) -> dict[str, dict[str, float | str]]:
    """Compare every penalised vector with its independently trained counterpart: norm, and score of its own value.

    The difference of scores is paired over prompts; `low` and `high` are its 95 % interval (Student's t). A vector that
    was never penalised is its own counterpart and is left out, and so is one that could not be scored.

    Returns:
        By value: `norm`, `norm_independent`, `score`, `score_independent`, `difference`, `low`, `high`, `verdict`,
        `n_prompts`.
    """
    found = {}
    for vector, other in zip(vectors, independent, strict=True):
        if vector.key != other.key:
            alone = space.alone(vector.value)
            try:
                scores = evaluate.rewards_of(alone, vector.value)
                independent_scores = evaluate_independent.rewards_of(alone, vector.value)
            except NonFiniteLogits:
                continue  # the ledger holds the reason
            norms = {"norm": vector.norm(), "norm_independent": other.norm()}
            compared = paired_scores(scores, independent_scores, smallest_difference=smallest_difference)
            found[vector.value] = {**norms, **compared}
    return found
