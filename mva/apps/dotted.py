"""Names with dots on the command line: `coefficients.gpt4.1=0.5` means the value `gpt4.1`."""

from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mva.checks import BadSetting


def _is_mapping(node: object) -> bool:
    return isinstance(node, DictConfig)


def _is_no_component(node: object) -> bool:
    return isinstance(node, DictConfig) and len(node) > 0 and "_target_" not in node


_NESTED: dict[str, Callable[[object], bool]] = {
    "coefficients": _is_mapping,
    "adapters": _is_mapping,
    "rewards": _is_no_component,
    "select.limits": _is_mapping,
}
"""The mappings by value, and whether a node in one is a part of a name rather than what the name stands for."""


def with_dotted_names(config: DictConfig) -> DictConfig:
    """Join the names that Hydra's grammar took apart at their dots, in the mappings by value.

    Raises:
        BadSetting: If a name is there twice.
    """
    for key, is_part in _NESTED.items():
        mapping = OmegaConf.select(config, key)
        if not isinstance(mapping, DictConfig) or not any(is_part(mapping[name]) for name in mapping):
            continue
        joined: dict[str, Any] = {}
        for name, node in _leaves(mapping, is_part):
            if name in joined:
                raise BadSetting(key, f"names {name} twice: give it once.")
            joined[name] = node
        config = config.copy()
        OmegaConf.update(config, key, DictConfig(joined, flags={"struct": False}), merge=False)
    return config


def _leaves(mapping: DictConfig, is_part: Callable[[object], bool], above: str = "") -> Iterator[tuple[str, object]]:
    for key, node in mapping.items():
        name = f"{above}{key!s}"
        if is_part(node):
            yield from _leaves(node, is_part, f"{name}.")
        else:
            yield name, node
