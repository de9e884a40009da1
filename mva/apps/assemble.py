"""From configuration to objects: the only place where a config names code, and what code it may name."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mva.analysis.limits import Selection, selection
from mva.apps.components import build, make
from mva.apps.settings import Extrapolation, Paths, Penalty, Select, Trainer, Value, check_groups, group
from mva.apps.targets import ForbiddenTarget
from mva.checks import BadSetting, check_one, shown
from mva.composition.base import Composition
from mva.data.loading import DataSettings
from mva.estimators.base import Estimator
from mva.evaluation.settings import EvaluationSettings
from mva.experiment import Experiment
from mva.extrapolation.space import CoefficientSpace
from mva.models.store import Store
from mva.objectives.decorrelation import Decorrelation
from mva.rewards.base import RewardSpec
from mva.training.plan import Plan

__all__ = ["ForbiddenTarget", "build", "experiment"]


def experiment(config: DictConfig) -> Experiment:
    """Assemble the whole experiment; a setting that makes no sense is refused here, before a model is loaded.

    Raises:
        BadSetting: For a setting that can't be, named by its key.
        ValueError: For components that don't fit each other.
    """
    check_groups(config)
    values = tuple(group(Value, config, "value").names)
    penalty, trainer = _settings(Penalty, config, "penalty"), _settings(Trainer, config, "trainer")
    plan, composition = _component(config, "plan", Plan), _component(config, "composition", Composition)
    dependence = {"estimator": _component(config, "estimator", Estimator), "strength": penalty.strength}
    if penalty.view is not None:
        dependence["view"] = penalty.view
    box = group(Extrapolation, config, "extrapolation")
    space = {"values": plan.names(values), "composition": composition.name, **vars(box)}
    parts = {
        "values": values,
        "data": make(DataSettings, build(_only(_group(config, "data"), values)), "data"),
        "filter": build(_group(config, "filter")) or None,
        "model": build(_group(config, "model")),
        "adapter": build(_group(config, "adapter")),
        "objective": build(_group(config, "objective")),
        "decorrelation": make(Decorrelation, dependence, "penalty"),
        "baseline": penalty.baseline,
        "plan": plan,
        "recipe": trainer.recipe,
        "execution": trainer.execution,
        "composition": composition,
        "policy": build(_group(config, "policy")),
        "engine": build(_group(config, "engine")),
        "space": make(CoefficientSpace, space, "extrapolation"),
        "search": build(_group(config, "search")),
        "rewards": _rewards(config, values),
        "evaluation": _settings(EvaluationSettings, config, "evaluation"),
        "store": Store(group(Paths, config, "paths").cache),
        "seed": config.seed,
    }
    made: Experiment = make(Experiment, parts, "")
    selected(config, made)
    return made


def selected(config: DictConfig, made: Experiment) -> Selection:
    """Read `select`, and hold it against the run's values.

    Raises:
        BadSetting: For a value or a limit that there is none of.
    """
    wanted = group(Select, config, "select")
    return selection(wanted.most, wanted.limits, values=made.values, by_pairs=made.evaluation.by == "pairs")


def _group(config: DictConfig, key: str) -> DictConfig:
    node = OmegaConf.select(config, key)
    if not isinstance(node, DictConfig):
        raise BadSetting(key, f"is {shown(node)}: choose one of conf/{key}/, or a mapping with a _target_.")
    return node


def _component(config: DictConfig, key: str, protocol: Any) -> Any:
    component = build(_group(config, key))
    check_one(key, component, protocol)
    return component


def _settings(kind: Any, config: DictConfig, key: str) -> Any:
    """Make the settings class of a group that holds components."""
    return make(kind, build(_group(config, key)), key)


def _rewards(config: DictConfig, values: Sequence[str]) -> dict[str, RewardSpec]:
    """A value's own reward, or the shared one: a single object, so that values share what it computes."""
    own = {} if config.rewards is None else config.rewards
    check_one("rewards", own, Mapping[str, Any])
    unknown = sorted(set(own) - set(values))
    if unknown:
        raise ValueError(f"rewards names {shown(unknown)}, which are none of the values {list(values)}.")
    shared: Any = build(_group(config, "reward")) if set(values) - set(own) else None
    return {value: build(own[value], f"rewards.{value}") if value in own else shared for value in values}


def _only(data: DictConfig, values: Sequence[str]) -> DictConfig:
    """Leave out the values that are not asked for: what they lack (a path, say) is nobody's business."""
    offered = data.get("values")
    if not isinstance(offered, DictConfig):
        raise BadSetting("data.values", f"is {shown(offered)}: choose a mapping, a source for each value.")
    unknown = [value for value in values if value not in offered]
    if unknown:
        raise ValueError(f"value.names asks for {shown(unknown)}: the data offers {', '.join(map(str, offered))}.")
    chosen = {value: offered[value] for value in values}
    return OmegaConf.create({"data": {**data, "values": chosen}}).data
