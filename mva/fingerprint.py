"""Content hashes: of specifications and of configured components."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

_ADDED = "added"
_KIND = "__kind__"

Component = TypeVar("Component")


def fingerprint(spec: object) -> str:
    """Hash JSON-able data: the sha256 (hex) of its canonical JSON form.

    Raises:
        ValueError: If the data holds NaN or infinity, or a type that JSON has no words for.
    """
    return pieces_fingerprint([canonical_json(spec).encode()])


def canonical_json(spec: object) -> str:
    """Write JSON-able data in its canonical form.

    Raises:
        ValueError: If the data holds NaN or infinity, or a type that JSON has no words for.
    """
    try:
        return json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"A specification must be finite plain data to be hashed: {error}.") from error


def pieces_fingerprint(pieces: Iterable[bytes]) -> str:
    """Hash a text that comes in pieces: the sha256 (hex)."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def added(default: Any) -> Any:
    """Declare a dataclass field that is no part of the component's description while it has its default."""
    return dataclasses.field(default=default, metadata={_ADDED: True})


def _counts(field: "dataclasses.Field[Any]", component: object) -> bool:
    return not field.metadata.get(_ADDED) or getattr(component, field.name) != field.default


def kind(name: str) -> Callable[[type[Component]], type[Component]]:
    """Declare what a class is called in addresses, so that it can move to another module under another name.

    It is the class's alone: one that is made from it is another kind.
    """

    def declare(component: type[Component]) -> type[Component]:
        setattr(component, _KIND, name)
        return component

    return declare


def declared_kind(component: object) -> str | None:
    """Give the kind that a class declares; None without one."""
    return vars(component).get(_KIND) if isinstance(component, type) else None


def _kind_of(component: type) -> str:
    here = f"{component.__module__}.{component.__qualname__}"
    declared = declared_kind(component)
    if declared is None and component.__module__.startswith("mva."):
        raise TypeError(f"{here} has no kind: declare @kind({here!r}), so that its addresses stay when it is moved.")
    return declared or here


def describe(component: object) -> Any:
    """Turn a configured component (nested dataclasses) into plain data: its class and its settings.

    A class of mva is named by its declared `kind`, one of a plug-in that declares none by its module and name. A
    setting that a later version added is declared with `added(default)`: at its default it is left out, so that the
    addresses of what is stored already stay what they are.

    Raises:
        TypeError: If a class of mva declares no kind.
    """
    if dataclasses.is_dataclass(component) and not isinstance(component, type):
        settings = {
            f.name: describe(getattr(component, f.name)) for f in dataclasses.fields(component) if _counts(f, component)
        }
        return {"class": _kind_of(type(component)), **settings}
    if isinstance(component, Mapping):
        return {str(name): describe(part) for name, part in component.items()}
    if isinstance(component, list | tuple | set | frozenset):
        parts = sorted(component) if isinstance(component, set | frozenset) else component
        return [describe(part) for part in parts]
    return component
