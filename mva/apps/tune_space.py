"""What `mva-tune` searches: keys of the configuration, and which settings each may take."""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from mva.apps import assemble
from mva.shell import override as text_override

Setting = bool | int | float | str | None
Space = Mapping[str, BaseDistribution]
_KEYS = {"low", "high", "log", "step", "choices"}
_DIGITS = 4  # of a proposed number: as exact as a user would type it, and the run's own record shows no more


def read_space(tree: Mapping[str, Any], config: DictConfig) -> dict[str, BaseDistribution]:
    """Read `tune.space`: the distribution of each key that is searched.

    Numbers are whole where both bounds are and the configured setting is no fraction (10.0 is one, 16 is not).

    Raises:
        ValueError: If nothing is searched, or a leaf is neither a range nor a list of choices.
    """
    leaves = {key: leaf for key, leaf in dict(_leaves(tree)).items() if leaf is not None}
    if not leaves:
        raise ValueError("tune.space is empty: say what to search, as 'tune.space.penalty.strength={low:0.1,high:10}'.")
    return {key: _distribution(key, leaf, OmegaConf.select(config, key)) for key, leaf in leaves.items()}


def check_space(space: Space, compose: Callable[[Sequence[str]], DictConfig]) -> None:
    """Try every key with its bounds or its choices, one at a time, up to the assembled (unloaded) experiment.

    Raises:
        ValueError: If the configuration has no such key, or refuses a setting.
    """
    for key, distribution in space.items():
        for setting in _extremes(distribution):
            word = override(key, setting)
            try:
                config = compose([word])
            except (HydraException, OmegaConfBaseException) as error:
                raise ValueError(_refused(key, word, compose([]), error)) from error
            try:
                assemble.experiment(config)
            except ValueError as error:
                raise ValueError(f"tune.space.{key}: {word} is refused: {error}") from error


def rounded(settings: Mapping[str, Setting], space: Space) -> dict[str, Setting]:
    """Round proposed fractions to the digits that are run and recorded, within their bounds."""
    return {key: _rounded(setting, space[key]) for key, setting in settings.items()}


def override(key: str, setting: Setting) -> str:
    """Say a setting as Hydra's command line does; text that it could take for something else is quoted."""
    return text_override(key, setting) if isinstance(setting, str) else f"{key}={json.dumps(setting)}"


def holds(distribution: BaseDistribution, setting: object) -> bool:
    """Say whether a setting is one that could be proposed."""
    if isinstance(distribution, CategoricalDistribution):
        return setting in distribution.choices
    if isinstance(setting, bool) or not isinstance(setting, int | float):
        return False
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    return low <= setting <= high and (not step or abs((setting - low) / step - round((setting - low) / step)) < 1e-8)


def _rounded(setting: Setting, distribution: BaseDistribution) -> Setting:
    if not isinstance(distribution, FloatDistribution) or not isinstance(setting, float):
        return setting
    return min(max(float(f"{setting:.{_DIGITS}g}"), distribution.low), distribution.high)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, node in tree.items():
        if isinstance(node, Mapping) and not ({"low", "high", "choices"} & set(node)):
            yield from _leaves(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node


def _distribution(key: str, leaf: Any, now: object) -> BaseDistribution:
    if not isinstance(leaf, Mapping) or set(leaf) - _KEYS or not ({"low", "high"} <= set(leaf) or "choices" in leaf):
        raise ValueError(f"tune.space.{key} is {leaf}: give {{low: 0.1, high: 10}} (log, step) or {{choices: [4, 8]}}.")
    if leaf.get("choices") is not None:
        choices = leaf["choices"]
        if not isinstance(choices, list) or not choices or not all(isinstance(one, Setting) for one in choices):
            raise ValueError(f"tune.space.{key}.choices is {choices}: give a list of numbers or names.")
        return CategoricalDistribution(choices)
    low, high, log, step = leaf["low"], leaf["high"], bool(leaf.get("log")), leaf.get("step")
    if not all(type(bound) in (int, float) for bound in (low, high)):
        raise ValueError(f"tune.space.{key} goes from {low} to {high}: its bounds must be numbers.")
    try:
        if isinstance(low, int) and isinstance(high, int) and not isinstance(now, float):
            return IntDistribution(low, high, log=log, step=step or 1)
        return FloatDistribution(low, high, log=log, step=step)
    except (ValueError, TypeError) as error:
        raise ValueError(f"tune.space.{key} is {dict(leaf)}: {error}") from error


def _extremes(distribution: BaseDistribution) -> Sequence[Setting]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low, distribution.high


def _refused(key: str, word: str, config: DictConfig, error: Exception) -> str:
    if OmegaConf.select(config, key) is not None:
        return f"tune.space.{key}: {word} is refused: {str(error).splitlines()[0]}"
    tree: Any = OmegaConf.to_container(config)
    close = difflib.get_close_matches(key, list(_names(tree)), n=1)
    hint = f": did you mean {close[0]}?" if close else "."
    return f"tune.space names {key}, which the configuration does not have{hint}"


def _names(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, node in tree.items():
        yield f"{prefix}{name}"
        if isinstance(node, Mapping):
            yield from _names(node, f"{prefix}{name}.")
