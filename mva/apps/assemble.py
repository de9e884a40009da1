"""From configuration to objects: the only place where a config names code, and what code it may name."""

import importlib
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from mva.data.loading import DataSettings
from mva.evaluation.settings import EvaluationSettings
from mva.experiment import Experiment
from mva.extrapolation.space import CoefficientSpace
from mva.models.store import Store
from mva.objectives.decorrelation import Decorrelation
from mva.rewards.base import RewardSpec


class ForbiddenTarget(ValueError):
    """A `_target_` that a configuration may not name."""


def experiment(config: DictConfig) -> Experiment:
    """Assemble the whole experiment; a setting that makes no sense is refused here, before a model is loaded."""
    values, composition = tuple(config.value.names), build(config.composition)
    penalty, plan = build(config.penalty), build(config.plan)
    bounds = OmegaConf.to_container(config.extrapolation, resolve=True)
    assert isinstance(bounds, dict)
    return Experiment(
        values=values,
        data=DataSettings(**build(_only(config.data, values))),
        filter=build(config.filter) or None,
        model=build(config.model),
        adapter=build(config.adapter),
        objective=build(config.objective),
        decorrelation=Decorrelation(build(config.estimator), penalty["view"], penalty["strength"]),
        baseline=bool(penalty["baseline"]),
        plan=plan,
        **build(config.trainer),
        composition=composition,
        policy=build(config.policy),
        space=CoefficientSpace(
            plan.names(values), composition=composition.name, **{str(k): v for k, v in bounds.items()}
        ),
        search=build(config.search),
        rewards=_rewards(config, values),
        evaluation=EvaluationSettings(**build(config.evaluation)),
        store=Store(config.paths.cache),
        seed=int(config.seed),
    )


def _rewards(config: DictConfig, values: Sequence[str]) -> dict[str, RewardSpec]:
    """A value's own reward, or the shared one: a single object, so that values share what it computes."""
    own = config.rewards or {}
    unknown = sorted(set(own) - set(values))
    if unknown:
        raise ValueError(f"rewards names {unknown}, which are none of the values {list(values)}.")
    shared: Any = build(config.reward) if set(values) - set(own) else None
    return {value: build(own[value]) if value in own else shared for value in values}


def _only(data: DictConfig, values: Sequence[str]) -> DictConfig:
    """Leave out the values that are not asked for: what they lack (a path, say) is nobody's business."""
    unknown = [value for value in values if value not in data["values"]]
    if unknown:
        raise ValueError(f"value.names asks for {unknown}: the data offers {', '.join(map(str, data['values']))}.")
    chosen = {value: data["values"][value] for value in values}
    return OmegaConf.create({"data": {**data, "values": chosen}}).data


def build(node: DictConfig) -> Any:
    """Instantiate a config node, after every `_target_` in it was checked.

    Raises:
        ValueError: If the node leaves a value open (`???`), or a class refuses its settings.
        ForbiddenTarget: If a `_target_` is anything but a public class of mva, or of a package that the
            environment variable MVA_PLUGINS (names, comma-separated) allows.
    """
    if missing := sorted(OmegaConf.missing_keys(node)):
        raise ValueError(
            f"The configuration leaves open {', '.join(missing)}: say it on the command line, as key=value."
        )
    plain = OmegaConf.to_container(node, resolve=True)
    for target in _targets(plain):
        _check_target(target)
    try:
        return instantiate(plain, _convert_="all")
    except InstantiationException as error:
        # The class's own sentence says it better than the wrapping does.
        raise error.__cause__ if isinstance(error.__cause__, ValueError) else error from None


def _targets(node: object) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for child in node.values():
            yield from _targets(child)
    elif isinstance(node, list):
        for child in node:
            yield from _targets(child)


def _check_target(target: str) -> None:
    # Looked at is the object itself, not the string: a re-export under an allowed name stays forbidden.
    allowed = {"mva", *filter(None, os.environ.get("MVA_PLUGINS", "").split(","))}
    module, _, name = target.rpartition(".")
    if module.partition(".")[0] not in allowed:
        raise ForbiddenTarget(
            f"_target_ '{target}' is outside of {sorted(allowed)}: a configuration may only name their classes; "
            f"for a plug-in of your own set MVA_PLUGINS to its package."
        )
    try:
        named = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ForbiddenTarget(f"_target_ '{target}' can't be found: {error}.") from error
    home = getattr(named, "__module__", "").partition(".")[0]
    if not inspect.isclass(named) or home not in allowed or name.startswith("_"):
        raise ForbiddenTarget(f"_target_ '{target}' is not a public class of {sorted(allowed)}.")
