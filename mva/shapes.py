"""What a JSON record must look like: shapes, and the place where a record has another one.

A shape is a function that raises `Mismatch` for a value that it does not take. Fields that a shape does not name are
let through: later versions may have written them.
"""

import math
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

Shape = Callable[[Any], None]

_NO_FIELDS: Mapping[str, Shape] = MappingProxyType({})
_LONGEST_SHOWN = 40
_DEEPEST = 30


class Mismatch(ValueError):
    """A value of another shape than expected, with its place in the record."""

    def __init__(self, expected: str, value: object) -> None:
        super().__init__(expected)
        self.expected = expected
        self.shown = _shown(value)
        self.place: list[str | int] = []

    def inside(self, part: str | int) -> "Mismatch":
        """Add the outer part of the place: a field's name or an item's number."""
        self.place.insert(0, part)
        return self

    def __str__(self) -> str:
        """Say it: `scores.helpful is "high", not a finite number`."""
        words = [f"[{part}]" if isinstance(part, int) else f".{_plain(part)}" for part in self.place]
        place = "".join(words).lstrip(".")
        return f"{place or 'it'} is {self.shown}, not {self.expected}"


def anything(value: Any) -> None:
    """Take any plain data that is finite and not deeply nested."""
    _take_plain(value, _DEEPEST)


def text(value: Any) -> None:
    """Take a text."""
    if type(value) is not str:
        raise Mismatch("a text", value)


def number(value: Any) -> None:
    """Take a finite number that a float can hold."""
    kind = type(value)
    if not ((kind is float and math.isfinite(value)) or (kind is int and abs(value) <= sys.float_info.max)):
        raise Mismatch("a finite number", value)


def count(value: Any) -> None:
    """Take a whole number from 0 to 2^53."""
    if type(value) is not int or not 0 <= value <= 2**53:
        raise Mismatch("a count (a whole number from 0)", value)


def whole(value: Any) -> None:
    """Take a whole number of at most 64 bits."""
    if type(value) is not int or not -(2**63) <= value < 2**64:
        raise Mismatch("a whole number", value)


def one_of(*choices: Any) -> Shape:
    """Take one of these values."""

    def check(value: Any) -> None:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise Mismatch(" or ".join(map(repr, choices)), value)

    return check


def maybe(shape: Shape) -> Shape:
    """Take null, or what `shape` takes."""

    def check(value: Any) -> None:
        if value is not None:
            shape(value)

    return check


def list_of(shape: Shape, *, at_least: int = 0) -> Shape:
    """Take a list of what `shape` takes."""

    def check(value: Any) -> None:
        if type(value) is not list or len(value) < at_least:
            raise Mismatch(f"a list of at least {at_least}" if at_least else "a list", value)
        for position, item in enumerate(value):
            try:
                shape(item)
            except Mismatch as mismatch:
                raise mismatch.inside(position) from None

    return check


def named(shape: Shape, *, at_least: int = 0) -> Shape:
    """Take an object whose names are free and whose values `shape` takes."""

    def check(value: Any) -> None:
        if type(value) is not dict or len(value) < at_least:
            raise Mismatch(f"an object of at least {at_least} entries" if at_least else "an object", value)
        if shape is number and _all_finite_floats(value):
            return  # ledgers have millions of these
        for name, part in value.items():
            try:
                shape(part)
            except Mismatch as mismatch:
                raise mismatch.inside(name) from None

    return check


def fields(required: Mapping[str, Shape], optional: Mapping[str, Shape] = _NO_FIELDS) -> Shape:
    """Take an object with the `required` fields; of the `optional` ones those that are there are checked, too."""

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise Mismatch("an object", value)
        name = ""
        try:
            for name, shape in required.items():
                shape(value[name])
            if optional:
                for name in optional.keys() & value.keys():
                    optional[name](value[name])
        except KeyError:
            raise Mismatch("there", _MISSING).inside(name) from None
        except Mismatch as mismatch:
            raise mismatch.inside(name) from None

    return check


_MISSING = object()


def _all_finite_floats(value: Mapping[str, Any]) -> bool:
    return {float}.issuperset(map(type, value.values())) and math.isfinite(sum(value.values()))


def _take_plain(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth == 0:
            raise Mismatch("less deeply nested", value)
        for part in value.values() if isinstance(value, dict) else value:
            _take_plain(part, depth - 1)
    elif isinstance(value, float | int) and not isinstance(value, bool):
        number(value)


def _shown(value: object) -> str:
    if value is _MISSING:
        return "missing"
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list"
        return f"{kind} of {len(value)}" if value else f"{kind} without entries"
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    written = repr(value)
    return written if len(written) <= _LONGEST_SHOWN else f"{written[:_LONGEST_SHOWN]}..."


def _plain(name: str) -> str:
    """Show a field's name without the characters that a terminal would act on."""
    shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."
    return shown if shown.isprintable() else repr(shown)
