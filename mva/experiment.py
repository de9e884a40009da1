"""What a run is configured with, as objects, and what it has loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from mva.checks import FILLED, UNIQUE, BadSetting, Seed, check
from mva.composition.base import Composition
from mva.composition.log_probs import LogProbs
from mva.data.evaluation_pairs import evaluation_pairs
from mva.data.labelled import LabelledPairs
from mva.data.loading import DataSettings
from mva.data.preference import Dialogue, Split, ValueData
from mva.data.prompts import evaluation_prompts, prompt_clusters
from mva.data.tokenization import TokenizedPair
from mva.data.tokenized import TokenizedValue, tokenize_usable, tokenize_value
from mva.engines.base import Engine, EngineContext, EngineSpec
from mva.estimators.samples import FactorRows
from mva.evaluation.pair_sets import HELD_OUT, pair_record
from mva.evaluation.settings import EvaluationSettings
from mva.extrapolation.space import CoefficientSpace
from mva.models.backbone import Backbone, ModelSettings, check_attention, check_device
from mva.models.lora import LoraSpec
from mva.models.store import Store
from mva.models.token_store import StoredTokens
from mva.objectives.base import PreferenceLoss, length_normalised
from mva.objectives.decorrelation import Decorrelation
from mva.policies.base import PolicySpec
from mva.rewards.base import RewardSpec
from mva.rewards.consistency import Consistency
from mva.search.base import SearchSpec
from mva.stages import Stages
from mva.training.plan import Plan
from mva.training.ranks import check_ranks
from mva.training.spec import ExecutionOptions, Recipe


@dataclass(frozen=True)
class Experiment:
    """Everything that a run is configured with; nothing of it has loaded a model or read data yet."""

    values: Annotated[tuple[str, ...], FILLED, UNIQUE]
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
    engine: EngineSpec
    space: CoefficientSpace
    search: SearchSpec
    rewards: Mapping[str, RewardSpec]
    evaluation: EvaluationSettings
    store: Store
    seed: Seed

    def __post_init__(self) -> None:
        """Check that the parts fit each other, as far as that can be said before anything is loaded.

        Raises:
            ValueError: For the first that does not.
        """
        check(self)
        self.policy.check(self.composition)
        self.engine.check(self.policy, self.composition)
        self.search.start(self.space, seed=self.seed)
        self._check_reference_point()
        self._check_reward_check()
        self._check_pessimism()
        self._check_rank()
        self._check_pairs()

    @property
    def pair_beta(self) -> float | None:
        """What scales the margins of preference pairs, `evaluation.pair_beta` or the objective's beta; None without."""
        if self.evaluation.pair_beta is not None or length_normalised(self.objective):
            return self.evaluation.pair_beta
        beta: float | None = getattr(self.objective, "beta", None)
        return beta

    def check_machine(self) -> None:
        """Check that this machine has the devices; a sweep may be started on another one than its jobs run on.

        Raises:
            BadSetting: For the first that it lacks.
        """
        self.execution.check_machine()
        check_ranks(self.recipe, self.objective, self.execution)
        try:
            check_device(self.model.device)
            check_attention(self.model.attention, self.model.device)
        except BadSetting as error:
            raise error.under("model") from None

    def _check_reference_point(self) -> None:
        point = self.evaluation.reference_point
        if isinstance(point, Mapping) and set(point) != set(self.values):
            raise BadSetting(
                "evaluation.reference_point",
                f"names {', '.join(point) or 'nothing'}, but the values are {', '.join(self.values)}: choose a number "
                "for each, or nadir.",
            )

    def _check_reward_check(self) -> None:
        files = self.evaluation.reward_check
        unknown = sorted(set(files) - set(self.values)) if isinstance(files, Mapping) else []
        if unknown:
            raise BadSetting(
                "evaluation.reward_check",
                f"names {', '.join(unknown)}, but the values are {', '.join(self.values)}: choose lists of files for "
                "these, or one list for all.",
            )

    def _check_pessimism(self) -> None:
        if self.evaluation.pessimism == 0:
            return
        for value, reward in self.rewards.items():
            if getattr(reward, "members", 1) < 2:  # specifications of ensembles have them
                raise BadSetting(
                    "evaluation.pessimism",
                    f"is {self.evaluation.pessimism:g}, and the reward of '{value}' is no ensemble: choose 0, or "
                    "reward=preference_head with reward.members of at least 2.",
                )

    def _check_pairs(self) -> None:
        if self.evaluation.by == "responses":
            return
        if self.composition.name == LogProbs.name:
            raise BadSetting(
                "evaluation.by",
                f"is {self.evaluation.by}, which needs a policy that is one model, and composition={LogProbs.name} "
                "mixes those of several: choose evaluation.by=responses.",
            )
        for name in ("reward_check", "pessimism"):
            if self.evaluation.by == "pairs" and getattr(self.evaluation, name):
                raise BadSetting(
                    f"evaluation.{name}",
                    "is for rewards, and evaluation.by=pairs makes none: leave it out, or choose evaluation.by=both.",
                )
        if self.pair_beta is None:
            raise BadSetting(
                "evaluation.pair_beta",
                f"is null, and {type(self.objective).__name__} has no beta that scales a sum of log-probs: choose a "
                "number, such as 0.1.",
            )

    def _check_rank(self) -> None:
        """Estimators that look at a factor's rows need some, wherever two values' vectors are compared."""
        estimator, least = self.decorrelation.estimator, getattr(self.decorrelation.estimator, "least_samples", 1)
        compared = len(self.values) > 1 and self.plan.names(self.values) == self.values
        if compared and isinstance(self.decorrelation.view, FactorRows) and self.adapter.rank < least:
            raise BadSetting(
                "adapter.rank",
                f"is {self.adapter.rank}, and {type(estimator).__name__} needs {least} rows of a factor: choose at "
                f"least {least}, or penalty=update_rows.",
            )


@dataclass(frozen=True)
class Session:
    """A loaded experiment: backbone and data, the engine that generates, and where progress is shown.

    `filtered` is what is trained on instead, by value, where a filter left pairs out; rewards are checked on `sources`.
    """

    experiment: Experiment
    backbone: Backbone
    data: Mapping[str, ValueData]
    stages: Stages
    engine: Engine
    sources: Sequence[LabelledPairs] = ()
    filtered: Mapping[str, ValueData] = field(default_factory=dict)

    def prompts(self, split: Split) -> tuple[Dialogue, ...]:
        """The prompts that candidates are scored on: validation for exploring, test for what is held out."""
        evaluation = self.experiment.evaluation
        limit = evaluation.n_test_prompts if split == "test" else evaluation.n_validation_prompts
        return evaluation_prompts(self.data, split, limit)

    def clusters(self, split: Split) -> dict[str, str]:
        """The clusters of the split's prompts, by prompt id; empty without `evaluation.cluster`."""
        return prompt_clusters(self.data, split)

    def pairs(self, split: Split) -> dict[str, list[TokenizedPair]]:
        """Each value's held-out pairs that candidates are scored on, with the splits of `prompts`.

        Raises:
            BadRow: For the first pair that can't be used, unless `data.on_bad_row` is "skip".
        """
        experiment, template = self.experiment, self.backbone.template
        chosen = evaluation_pairs(self.data, split, experiment.evaluation.n_pairs)
        tokenized = {}
        for value, pairs in chosen.items():
            tokenized[value], skipped = tokenize_usable(pairs, template, experiment.data.limits)
            if skipped and experiment.data.on_bad_row == "error":
                raise skipped[0]
        return tokenized

    def pair_record(self) -> dict[str, Any]:
        """What scores by preference pairs stand on: the content of pairs.json."""
        beta = self.experiment.pair_beta
        assert beta is not None
        splits = {split: self.pairs(split) for split in HELD_OUT}
        return pair_record(splits, base=self.backbone.fingerprint, beta=beta)

    @cached_property
    def tokenized(self) -> dict[str, TokenizedValue]:
        """Every value's pairs, ready for training."""
        experiment, template = self.experiment, self.backbone.template
        limits, on_bad_row = experiment.data.limits, experiment.data.on_bad_row
        tokenized = {}
        for value, data in {**self.data, **self.filtered}.items():
            tokenize = StoredTokens(experiment.store, what=f"the token ids of '{value}'")
            tokenized[value] = tokenize_value(data, template, limits, on_bad_row=on_bad_row, tokenize=tokenize)
        return tokenized


def open_session(
    experiment: Experiment,
    backbone: Backbone,
    data: Mapping[str, ValueData],
    stages: Stages,
    *,
    sources: Sequence[LabelledPairs] = (),
) -> Session:
    """Bring together what a run has loaded, and its engine, which the caller closes."""
    context = EngineContext(
        backbone, experiment.model, experiment.policy, experiment.composition, stages.folder, experiment.store
    )
    return Session(experiment, backbone, data, stages, experiment.engine.start(context), tuple(sources))
