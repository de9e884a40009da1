"""What a run is configured with, as objects, and what it has loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mva.composition.base import Composition
from mva.data.loading import DataSettings
from mva.data.preference import Dialogue, Split, ValueData
from mva.data.prompts import evaluation_prompts
from mva.data.tokenized import TokenizedValue, tokenize_value
from mva.evaluation.settings import EvaluationSettings
from mva.extrapolation.space import CoefficientSpace
from mva.models.backbone import Backbone, ModelSettings
from mva.models.lora import LoraSpec
from mva.models.store import Store
from mva.objectives.base import PreferenceLoss
from mva.objectives.decorrelation import Decorrelation
from mva.policies.base import PolicySpec
from mva.rewards.base import RewardSpec
from mva.rewards.consistency import Consistency
from mva.search.base import SearchSpec
from mva.stages import Stages
from mva.training.plan import Plan
from mva.training.spec import ExecutionOptions, Recipe


@dataclass(frozen=True)
class Experiment:
    """Everything that a run is configured with; nothing of it has loaded a model or read data yet."""

    values: tuple[str, ...]
    data: DataSettings
    filter: Consistency | None
    model: ModelSettings
    adapter: LoraSpec
    objective: PreferenceLoss
    decorrelation: Decorrelation
    baseline: bool
    plan: Plan
    recipe: Recipe
    execution: ExecutionOptions
    composition: Composition
    policy: PolicySpec
    space: CoefficientSpace
    search: SearchSpec
    rewards: Mapping[str, RewardSpec]
    evaluation: EvaluationSettings
    store: Store
    seed: int


@dataclass(frozen=True)
class Session:
    """A loaded experiment: backbone and data, and where its progress is shown.

    `filtered` is what is trained on instead, by value, where a filter left pairs out.
    """

    experiment: Experiment
    backbone: Backbone
    data: Mapping[str, ValueData]
    stages: Stages
    filtered: Mapping[str, ValueData] = field(default_factory=dict)

    def prompts(self, split: Split) -> tuple[Dialogue, ...]:
        """The prompts that candidates are scored on: validation for exploring, test for what is held out."""
        evaluation = self.experiment.evaluation
        limit = evaluation.n_test_prompts if split == "test" else evaluation.n_validation_prompts
        return evaluation_prompts(self.data, split, limit)

    @cached_property
    def tokenized(self) -> dict[str, TokenizedValue]:
        """Every value's pairs, ready for training."""
        e = self.experiment
        return {
            value: tokenize_value(data, self.backbone.template, e.data.limits, on_bad_row=e.data.on_bad_row)
            for value, data in {**self.data, **self.filtered}.items()
        }
