"""Settings check themselves: annotations say what each may be, and one sentence refuses anything else.

A settings class is a frozen dataclass whose `__post_init__` calls `check(self)`. Its annotations are the rules:

    steps: Count | None                                   a whole number of at least 1, or null
    schedule: Literal["linear", "cosine"]                 one of these words
    dropout: Annotated[float, Bounds(0, 1, below=True)]   from 0 to below 1

Nothing is converted, so that a setting that passes is hashed and stored as it was given. A whole number passes for a
fraction, but true and false are no numbers, and 4.0 is no whole number.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

MANY = 10**9
# No text holds these, nor any path: but U+DC80 to U+DCFF are bytes of file names in other encodings (PEP 383).
_UNUSABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
_LONGEST = 60  # characters of a setting that a sentence quotes


class BadSetting(ValueError):
    """A setting that can't be used: `key` says which, `problem` what is wrong and what to choose instead."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(key, problem)
        self.key = key
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.key} {self.problem}"

    def under(self, path: str) -> "BadSetting":
        """Name the setting by its place in the whole configuration."""
        return BadSetting(joined(path, self.key), self.problem)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Bounds of a finite number, both included, unless it must lie `above` the lower or `below` the upper one."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    infinite: bool = False

    def holds(self, number: Any) -> bool:
        """Say whether the number lies within; NaN and whole numbers that no float can hold never do."""
        try:
            finite = math.isfinite(number) or (self.infinite and math.isinf(number))
        except OverflowError:
            return False
        lower = number > self.low if self.above else number >= self.low
        return finite and lower and (number < self.high if self.below else number <= self.high)

    def words(self, value: object) -> str:
        """Describe the bounds; a limit that only keeps absurd counts out is mentioned to those who meet it."""
        low = f" {'above' if self.above else 'of at least'} {self.low}" if self.low > -math.inf else ""
        exceeds = isinstance(value, int | float) and value > self.high
        if self.high == math.inf or (self.high >= MANY and not exceeds):
            return low
        high = f"{'below' if self.below else 'at most'} {self.high}"
        return f"{low} and {high}" if low else f" of {high}"


class Rule(NamedTuple):
    """A rule for texts or lists: what must hold, and how to say it."""

    holds: Callable[[Any], bool]
    phrase: str

    def words(self, _value: object) -> str:
        """Describe the rule."""
        return self.phrase


def _has_a_home(path: str) -> bool:
    try:
        Path(path).expanduser()
    except RuntimeError:  # there is no such user
        return False
    return True


FILLED = Rule(bool, " that is not empty")
UNIQUE = Rule(lambda names: all(list(names).count(name) == 1 for name in names), ", each only once")
Text = Annotated[str, FILLED]
Place = Annotated[str, FILLED, Rule(_has_a_home, " that has a user of this machine after ~")]
Count = Annotated[int, Bounds(1, MANY)]
CountFrom0 = Annotated[int, Bounds(0, MANY)]
Seed = Annotated[int, Bounds(0, 2**63 - 1)]
Positive = Annotated[float, Bounds(0, above=True)]
NotNegative = Annotated[float, Bounds(0)]
Share = Annotated[float, Bounds(0, 1)]
_NOUNS: dict[Any, str] = {
    int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"
}  # fmt: skip


class Fault(NamedTuple):
    """What does not fit: where beneath the setting it stands, the value, and what is asked for instead."""

    where: str
    value: object
    demand: str


def check(settings: Any) -> None:
    """Check every field of a settings dataclass against its annotation.

    Raises:
        BadSetting: For the first field that does not fit.
    """
    kind: Any = type(settings)
    hints = hints_of(kind)
    for field in dataclasses.fields(settings):
        check_one(field.name, getattr(settings, field.name), hints[field.name])


def check_one(key: str, value: object, hint: Any) -> None:
    """Check one setting against an annotation.

    Raises:
        BadSetting: If it does not fit.
    """
    fault = find_fault(value, hint)
    if fault is not None:
        raise BadSetting(f"{key}{fault.where}", f"is {shown(fault.value)}: choose {fault.demand}.")


@lru_cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Resolve the annotations of a class's fields."""
    return get_type_hints(kind, include_extras=True)


def joined(path: str, key: str) -> str:
    """Join a key to the path above it."""
    return f"{path}.{key}" if path and key and not key.startswith("[") else f"{path}{key}"


def shown(value: object) -> str:
    """Quote a setting as a user writes it, cut to a sentence's length, without control characters."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if not isinstance(value, str | int | float | list | tuple | Mapping):
        return f"a {type(value).__name__}"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or a list in itself
        text = "too large to be shown"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def find_fault(value: object, hint: Any) -> Fault | None:
    """Find the first thing about a value that an annotation does not allow."""
    plain, rules = _split(hint)
    kind, parts = get_origin(plain) or plain, get_args(plain)
    if kind in (Any, object):
        return None
    if kind in (Union, UnionType):
        return _fault_of_union(value, parts)
    if not _is_of_kind(value, kind, parts):
        return Fault("", value, demand(hint, value))
    # Rules may rely on the types of what is within.
    fault = _fault_within(value, parts) if kind in (Sequence, Mapping) else None
    return fault or (None if all(rule.holds(value) for rule in rules) else Fault("", value, demand(hint, value)))


def demand(hint: Any, value: object) -> str:
    """Say what an annotation asks of those who gave `value`."""
    plain, rules = _split(hint)
    kind, parts = get_origin(plain) or plain, get_args(plain)
    if kind is Literal:
        words = [shown(option).strip("'") for option in parts]
        return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    if kind in (Union, UnionType):
        return _either(parts, value)
    noun = _NOUNS.get(kind, f"a component with a _target_ that is a {getattr(kind, '__name__', kind)}")
    if kind is Sequence:
        noun = f"a list ({demand(parts[0], None)} each)"
    if kind is Mapping:
        noun = "a mapping of names" + ("" if parts[1] in (Any, object) else f" ({demand(parts[1], None)} each)")
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        noun = "text (in quotes within quotes, if it looks like a number)"
    # A number's bounds are all named; of a text or a list the rule that it breaks.
    fits = _is_of_kind(value, kind, parts)
    named = [rule for rule in rules if isinstance(rule, Bounds) or (fits and not rule.holds(value))]
    return noun + "".join(rule.words(value) for rule in named)


def _either(options: Sequence[Any], value: object) -> str:
    return " or ".join(dict.fromkeys(demand(option, value) for option in options))


def _split(hint: Any) -> tuple[Any, tuple[Bounds | Rule, ...]]:
    plain, rules = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    return plain, rules or ((Bounds(),) if plain in (int, float) else ())


def _fault_of_union(value: object, options: Sequence[Any]) -> Fault | None:
    faults = [find_fault(value, option) for option in options]
    if None in faults:
        return None
    # What is wrong within a list or a mapping says more than that the whole is none of the options.
    within = [fault for fault in faults if fault is not None and fault.where]
    return within[0] if within else Fault("", value, _either(options, value))


def _fault_within(whole: Any, parts: Sequence[Any]) -> Fault | None:
    if not isinstance(whole, Mapping):
        within = [(f"[{index}]", part) for index, part in enumerate(whole)]
    elif names := [name for name in whole if not isinstance(name, str)]:
        return Fault("", whole, f"names that are text ({shown(names[0])} is none: put it in quotes)")
    else:
        within = [(f".{name}", part) for name, part in whole.items()]
    for where, part in within:
        fault = find_fault(part, parts[-1])
        if fault is not None:
            return fault._replace(where=f"{where}{fault.where}")
    return None


def _is_of_kind(value: object, kind: Any, parts: Sequence[Any]) -> bool:
    if kind is Literal:
        return any(type(value) is type(option) and value == option for option in parts)
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if kind is str:
        return isinstance(value, str) and not _UNUSABLE.search(value)
    if kind is Sequence:
        return isinstance(value, list | tuple)
    if isinstance(kind, type) and getattr(kind, "_is_protocol", False):
        return not isinstance(value, str | int | float | list | tuple | Mapping | None) and not lacks(value, kind)
    return isinstance(value, NoneType if kind is None else kind)


def lacks(component: object, protocol: type) -> list[str]:
    """List what a component lacks of a protocol's methods and attributes."""
    members = [name for base in protocol.__mro__[:-1] for name in (*vars(base), *getattr(base, "__annotations__", {}))]
    public = {name for name in members if name == "__call__" or not name.startswith("_")}
    return sorted(name for name in public if not hasattr(component, name))
