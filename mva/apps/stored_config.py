"""The configuration in a run's folder: data, read for names and numbers, never instantiated."""

from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mva.shapes import Shape, named

_LARGEST = 2_000_000  # characters; a run's is some thousands
_DEEPEST = 40


def _any(_setting: Any) -> None:
    """Take every setting."""


_ANY_SETTINGS = named(_any, at_least=1)


class BrokenConfig(ValueError):
    """A stored configuration that can't be read."""


def read_config(text: str, *, where: str, shape: Shape = _ANY_SETTINGS) -> dict[str, Any]:
    """Read the text of a `config.yaml`; interpolations stay as they are.

    Raises:
        BrokenConfig: If it is no mapping in YAML of this shape, or is none that a run writes: with aliases,
            deeply nested, or huge.
    """
    mend = "restore the file; a run of the same configuration in this folder writes it again once it is deleted"
    try:
        _check_size(text)
        plain: Any = OmegaConf.to_container(OmegaConf.create(text))
        shape(plain)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BrokenConfig(f"{where} can't be read ({reason}): {mend}.") from None
    return {str(name): node for name, node in plain.items()}


def _check_size(text: str) -> None:
    """Refuse what would grow, or never end, when it is read."""
    if len(text) > _LARGEST:
        raise ValueError(f"{len(text)} characters are more than any run writes")
    depth = 0
    for event in yaml.parse(text):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases, which no run writes")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
