"""What a run is configured with, as objects."""

from collections.abc import Mapping
from dataclasses import dataclass

from mva.composition.base import Composition
from mva.data.loading import DataSettings
from mva.evaluation.settings import EvaluationSettings
from mva.extrapolation.space import CoefficientSpace
from mva.models.backbone import ModelSettings
from mva.models.lora import LoraSpec
from mva.models.store import Store
from mva.objectives.base import PreferenceLoss
from mva.objectives.decorrelation import Decorrelation
from mva.policies.base import PolicySpec
from mva.rewards.base import RewardSpec
from mva.search.base import SearchSpec
from mva.training.plan import Plan
from mva.training.spec import ExecutionOptions, Recipe


@dataclass(frozen=True)
class Experiment:
    """Everything that a run is configured with; nothing of it has loaded a model or read data yet."""

    values: tuple[str, ...]
    data: DataSettings
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
