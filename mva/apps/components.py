"""Components out of a configuration: each setting is checked before any class is called with it."""

import difflib
import importlib
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mva.apps.targets import check_target, plugin_packages, targets_in
from mva.checks import BadSetting, check_one, hints_of, joined, shown

_TARGET = "_target_"


def plain(node: object, *, key: str = "", only: Collection[str] | None = None) -> dict[str, Any]:
    """Resolve a group (or `only` some keys of it) to plain data.

    Raises:
        BadSetting: If there is no mapping.
        ValueError: If it leaves a value open (`???`).
    """
    if not isinstance(node, DictConfig) or node._is_none():
        raise BadSetting(key or "the configuration", f"is {shown(node)}: choose an option of the group, or a mapping.")
    chosen = OmegaConf.masked_copy(node, list(only)) if only is not None else node
    if missing := sorted(OmegaConf.missing_keys(chosen)):
        named = ", ".join(name if name.startswith(f"{key}.") else joined(key, name) for name in missing)
        raise ValueError(f"The configuration leaves open {named}: say it on the command line, as key=value.")
    resolved: Any = OmegaConf.to_container(chosen, resolve=True)
    return {str(name): part for name, part in resolved.items()}


def build(node: DictConfig, key: str | None = None) -> Any:
    """Make what a config node describes, after every `_target_` in it was checked.

    Args:
        node: A mapping; those in it with a `_target_` become components, from the inside out.
        key: Where it stands in the configuration, if the node does not know.

    Raises:
        BadSetting: If a setting can't be; it is named by its whole key.
        ValueError: If the node leaves a value open (`???`), or a class refuses its settings.
        ForbiddenTarget: If a `_target_` is anything but a public class of mva, or of a package that the
            environment variable MVA_PLUGINS (names, comma-separated) allows.
    """
    full_key = node._get_full_key(None) if key is None and isinstance(node, DictConfig) else key or ""
    settings = plain(node, key=full_key)
    for target in targets_in(settings):
        check_target(target, {"mva", *plugin_packages()})
    return _made(settings, full_key)


def make(kind: type, arguments: Mapping[str, Any], key: str) -> Any:
    """Call a class with settings, each checked by name and by the class's annotations.

    Raises:
        BadSetting: For the first that can't be.
        ValueError: As the class raises it.
    """
    parameters = inspect.signature(kind).parameters
    taken = {name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD}
    unknown = sorted(set(arguments) - taken) if len(taken) == len(parameters) else []
    if unknown:
        raise BadSetting(joined(key, unknown[0]), f"is no setting of {kind.__name__}: {_among(unknown[0], taken)}.")
    for name, parameter in parameters.items():
        if name not in arguments and parameter.default is parameter.empty and name in taken:
            raise BadSetting(joined(key, name), f"is missing, and {kind.__name__} needs it: add it.")
    hints = hints_of(kind)
    try:
        for name, value in arguments.items():
            check_one(name, value, hints.get(name, Any))
        return kind(**arguments)
    except BadSetting as error:
        raise error.under(key) from None
    except TypeError as error:  # of a plug-in's class, which does not check its settings' types
        raise ValueError(f"{key}: {kind.__name__} takes no such settings ({error}): see its documentation.") from error


def _among(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"did you mean {near[0]}?".rstrip("?")
    return f"choose among {', '.join(sorted(known))}" if known else "leave it out, it has none"


def _made(node: Any, key: str) -> Any:
    if isinstance(node, list):
        return [_made(part, f"{key}[{index}]") for index, part in enumerate(node)]
    if not isinstance(node, dict):
        return node
    parts = {name: _made(part, joined(key, str(name))) for name, part in node.items() if name != _TARGET}
    return make(_class_named(str(node[_TARGET])), parts, key) if _TARGET in node else parts


def _class_named(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)
