"""Which code a configuration may name: public classes of mva, and of the packages that MVA_PLUGINS lists."""

import importlib
import inspect
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mva.fingerprint import declared_kind

PLUGINS = "MVA_PLUGINS"


class ForbiddenTarget(ValueError):
    """A configuration names code, or a place to write to, that it may not name."""


def plugin_packages() -> frozenset[str]:
    """Read the names of the user's own packages from the environment variable MVA_PLUGINS (comma-separated)."""
    return frozenset(filter(None, os.environ.get(PLUGINS, "").split(",")))


def targets_in(node: object) -> Iterator[str]:
    """Yield every `_target_` of a plain tree, however deep."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for child in node.values():
            yield from targets_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from targets_in(child)


def check_target(target: str, packages: Collection[str]) -> None:
    """Refuse a target that is not a public class at home in one of `packages`.

    The object itself is looked at, not the string: a re-export under an allowed name stays forbidden.

    Raises:
        ForbiddenTarget: If the target is anything else, or can't be imported.
    """
    module, _, name = target.rpartition(".")
    if module.partition(".")[0] not in packages:
        raise ForbiddenTarget(
            f"_target_ '{target}' is outside of {sorted(packages)}: a configuration may only name their classes; "
            f"for a plug-in of your own set {PLUGINS} to its package."
        )
    try:
        named = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ForbiddenTarget(f"_target_ '{target}' can't be found: {error}.") from error
    home = getattr(named, "__module__", "").partition(".")[0]
    if not inspect.isclass(named) or home not in packages or name.startswith("_"):
        raise ForbiddenTarget(f"_target_ '{target}' is not a public class of {sorted(packages)}.")


def with_kinds(node: Any) -> Any:
    """Name the classes of mva in a plain tree by their kinds, so that one that moved stays the same setting."""
    if isinstance(node, list):
        return [with_kinds(child) for child in node]
    if not isinstance(node, Mapping):
        return node
    return {key: _kind(child) if key == "_target_" else with_kinds(child) for key, child in node.items()}


def _kind(target: Any) -> Any:
    module, _, name = str(target).rpartition(".")
    if not module.startswith("mva."):
        return target
    try:
        named = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return target  # of another version: it may be the kind itself
    return declared_kind(named) or target
